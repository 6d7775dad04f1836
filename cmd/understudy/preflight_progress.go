package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// firstWord is how long nothing is said of what is waited for.
const firstWord = 3 * time.Second

// waiting says now and then what a command still waits for. The zero waiting says
// nothing.
type waiting struct {
	mu   sync.Mutex
	open map[string]int
}

// on notes something that is waited for, until end is called.
func (w *waiting) on(what string) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[string]int{}
	}
	w.open[what]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.open[what]--; w.open[what] == 0 {
			delete(w.open, what)
		}
	}
}

// tell writes to out until end is called, which waits for it.
func (w *waiting) tell(out io.Writer) (end func()) {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		began := time.Now()
		for next := firstWord; ; next = plainEvery {
			select {
			case <-stop:
				return
			case <-time.After(next):
			}
			w.mu.Lock()
			what := slices.Sorted(maps.Keys(w.open))
			w.mu.Unlock()
			if len(what) > 0 {
				fmt.Fprintf(out, "%d s: waiting for %s\n", int(time.Since(began).Seconds()), strings.Join(what, ", "))
			}
		}
	})
	return func() {
		close(stop)
		done.Wait()
	}
}
