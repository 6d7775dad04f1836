package kv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/understudy-dr/understudy/kv"
)

// endless yields pairs until it is stopped.
type endless struct {
	n    int
	size int
	stop <-chan struct{}
	err  error
}

func (e *endless) Next() (kv.Pair, bool, error) {
	select {
	case <-e.stop:
		return kv.Pair{}, false, e.err
	default:
		e.n++
		return kv.Pair{Key: fmt.Sprintf("%09d", e.n), Value: make([]byte, e.size)}, true, nil
	}
}

// What is judged ahead is used in key order, each key once, with its own judgement.
func TestJoinAheadIsJoin(t *testing.T) {
	defer goleak.VerifyNone(t)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) []kv.Pair {
			n := rapid.IntRange(0, 1200).Draw(t, label)
			every := rapid.IntRange(1, 4).Draw(t, "every")
			var s []kv.Pair
			for i := range n {
				s = append(s, kv.Pair{Key: fmt.Sprintf("%06d", i*every), Value: []byte(label)})
			}
			return s
		}
		a, b := draw("a"), draw("b")
		say := func(a, b *kv.Pair) string {
			text := ""
			if a != nil {
				text += "a" + a.Key
			}
			if b != nil {
				text += "b" + b.Key
			}
			return text
		}
		var want, got []string
		if err := kv.Join(&list{pairs: a}, &list{pairs: b}, func(a, b *kv.Pair) error { want = append(want, say(a, b)); return nil }); err != nil {
			t.Fatal(err)
		}
		err := kv.JoinAhead(context.Background(), func() {}, &list{pairs: a}, &list{pairs: b}, say, func(a, b *kv.Pair, judged string) error {
			if judged != say(a, b) {
				t.Fatalf("%q was judged %q", say(a, b), judged)
			}
			got = append(got, judged)
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v: %d keys, want %d", err, len(got), len(want))
		}
	})
}

// The first error ends the walk, and everything that it has started.
func TestJoinAheadEndsAtAnError(t *testing.T) {
	defer goleak.VerifyNone(t)
	broken := errors.New("broken")
	stopped := make(chan struct{})
	used := 0
	err := kv.JoinAhead(t.Context(), func() { close(stopped) }, &endless{stop: stopped}, &list{}, func(a, _ *kv.Pair) string { return a.Key },
		func(_, _ *kv.Pair, _ string) error {
			if used++; used == 1000 {
				return broken
			}
			return nil
		})
	if !errors.Is(err, broken) || used != 1000 {
		t.Errorf("%v after %d keys", err, used)
	}

	// A stream that ends because it was cancelled has not ended.
	ctx, cancel := context.WithCancel(t.Context())
	err = kv.JoinAhead(ctx, func() {}, &endless{stop: ctx.Done()}, &list{}, func(_, _ *kv.Pair) int { return 0 },
		func(a, _ *kv.Pair, _ int) error {
			if strings.HasSuffix(a.Key, "5000") {
				cancel()
			}
			return nil
		})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ended := make(chan struct{})
	close(ended)
	err = kv.JoinAhead(t.Context(), func() {}, &endless{stop: ended, err: broken}, &list{}, func(_, _ *kv.Pair) int { return 0 },
		func(_, _ *kv.Pair, _ int) error { return nil })
	if !errors.Is(err, broken) {
		t.Errorf("a broken stream: %v", err)
	}
}

// However slow its user, only some MiB are read ahead.
func TestJoinAheadReadsOnlySomeAhead(t *testing.T) {
	defer goleak.VerifyNone(t)
	var judged atomic.Int64
	stopped := make(chan struct{})
	used, most := int64(0), int64(0)
	enough := errors.New("enough")
	err := kv.JoinAhead(t.Context(), func() { close(stopped) }, &endless{size: 64 << 10, stop: stopped}, &list{},
		func(_, _ *kv.Pair) int { judged.Add(1); return 0 },
		func(_, _ *kv.Pair, _ int) error {
			if used++; used == 5000 {
				return enough
			}
			most = max(most, judged.Load()-used)
			return nil
		})
	if !errors.Is(err, enough) || most > 8*2*3*16 { // 16 values of 64 KiB are a MiB
		t.Errorf("%v; %d values of 64 KiB were ahead", err, most)
	}
}
