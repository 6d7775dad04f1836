package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/understudy-dr/understudy/replica"
)

// plainEvery is how often progress is told where there is no terminal.
const plainEvery = 10 * time.Second

// copyBar shows how far a copy is: a bar on a terminal, otherwise a line now
// and then.
type copyBar struct {
	w        io.Writer
	progress *mpb.Progress
	bar      *mpb.Bar
	said     time.Time
}

func newCopyBar(w io.Writer) *copyBar {
	b := &copyBar{w: w, said: time.Now()}
	if isTerminal(w) {
		b.progress = mpb.New(mpb.WithOutput(w), mpb.WithWidth(60))
	}
	return b
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (b *copyBar) update(p replica.CopyProgress) {
	if b.progress == nil {
		if time.Since(b.said) >= plainEvery {
			b.said = time.Now()
			fmt.Fprintf(b.w, "read %d of %d keys, wrote %d\n", p.Read, p.Total, p.Written)
		}
		return
	}
	if b.bar == nil {
		b.bar = b.progress.AddBar(p.Total,
			mpb.PrependDecorators(decor.Name("comparing "), decor.CountersNoUnit("%d / %d keys")),
			mpb.AppendDecorators(decor.Percentage(), decor.AverageSpeed(0, "  %.0f/s")))
	}
	b.bar.SetTotal(max(p.Total, p.Read), false)
	b.bar.SetCurrent(p.Read)
}

// end takes the bar away and waits for the last drawing.
func (b *copyBar) end(complete bool) {
	if b.progress == nil {
		return
	}
	if b.bar != nil {
		if complete {
			b.bar.SetTotal(-1, true)
		} else {
			b.bar.Abort(false)
		}
	}
	b.progress.Wait()
}
