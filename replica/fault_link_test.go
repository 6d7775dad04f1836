package replica_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/replica"
)

// Fault 8: the stream from the primary is half open. Within the deadline the
// lag is unknown, and it is not said to be known again before the primary is heard.
func TestHalfOpenStreamMakesLagUnknown(t *testing.T) {
	slow(t)
	t.Parallel()
	for name, tc := range map[string]struct {
		swallowed faultproxy.Direction
		// Events still arrive where only requests are lost, so the lag is
		// known as long as there are any.
		quiet bool
	}{
		"answers lost":  {swallowed: faultproxy.ToClient},
		"requests lost": {swallowed: faultproxy.ToServer, quiet: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			proxy, url := p.primary.Proxy(0)
			p.config.Primary.Endpoints = []string{url}
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			l := p.load(t)
			d.wait(t, "the lag to be known", func(s replica.State) bool { return s.Lag.Known })
			if tc.quiet {
				p.judge(t, l)
			}

			proxy.Blackhole(tc.swallowed)
			broken := time.Now()
			d.wait(t, "the lag to be unknown", func(s replica.State) bool { return !s.Lag.Known })
			unknown := time.Since(broken)
			if unknown > 12*time.Second {
				t.Errorf("the lag was still said to be known %s after the last word", unknown)
			}
			d.wait(t, "the end of the silent stream", func(s replica.State) bool {
				if s.Lag.Known {
					t.Fatalf("the lag is known again, %+v, while nothing can pass", s.Lag)
				}
				return s.Phase == replica.Connecting && s.Err != nil
			})
			t.Logf("unknown after %s, given up after %s", unknown, time.Since(broken))
			p.write(t, 10)
			must(t, proxy.Restore())
			d.wait(t, "streaming", streaming)
			p.judge(t, l)
			d.wait(t, "no lag", func(s replica.State) bool { return s.Lag.Known && s.Lag.Revisions == 0 && s.Lag.Seconds == 0 })
		})
	}
}

// Fault 8: the standby answers nothing. The lag grows, and is not 0.
func TestSilentStandbyMakesLagGrow(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	proxy, url := p.standby.Proxy(0)
	p.config.Standby.Endpoints = []string{url}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	proxy.Blackhole(faultproxy.ToClient)
	l := p.load(t)
	testkit.Eventually(t, 10*time.Second, "writes", func() (bool, string) { return l.Last() > 100, "" })
	d.wait(t, "the lag to grow", func(s replica.State) bool { return !s.Lag.Known || s.Lag.Seconds > 3 && s.Lag.Revisions > 0 })
	must(t, proxy.Restore())
	p.judge(t, l)
}

// Fault 10: a link of 200 ms and 1 Mbit/s that breaks now and then. The
// replica copies over it and catches up.
func TestSlowBrokenLinkCatchesUp(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	proxy, url := p.primary.Proxy(0)
	p.config.Primary.Endpoints = []string{url}
	fill(t, p.primary.Client(), fixture.Options{Seed: 10, Objects: 150})
	proxy.Delay(100 * time.Millisecond) // 200 ms both ways
	proxy.Throttle(125_000)
	proxy.RandomResets(seed(t), 400_000) // longer than the first pages
	d := p.start(t)
	l := p.load(t, func(w *checker.Workload) { w.Pace = 100 * time.Millisecond })
	d.wait(t, "streaming", streaming)
	random := rand.New(rand.NewPCG(seed(t), 10))
	proxy.RandomResets(random.Uint64(), 400_000) // what was missed comes in one message, which has to pass whole
	for range 5 {
		p.reach(t, kv.Revision(l.Last())+kv.Revision(random.IntN(15)))
		proxy.Reset()
	}
	p.judge(t, l)
	t.Logf("%d connections, errors %v, revision %d", proxy.Accepted(), d.State().Errors, l.Last())
}

// Fault 10: a burst that the standby's link cannot carry waits on the primary,
// not in memory.
func TestBurstOverSlowLinkIsBounded(t *testing.T) {
	slow(t)
	p := newPair(t)
	proxy, url := p.standby.Proxy(0)
	p.config.Standby.Endpoints = []string{url}
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	proxy.Throttle(125_000)
	before := heap()
	payload := strings.Repeat("x", 100<<10)
	for i := range 600 { // 60 MB; the link would take 8 minutes
		put(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/burst-%03d", i),
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"burst"},"data":{"x":"`+payload+`"}}`)
	}
	d.wait(t, "the lag to be seen", func(s replica.State) bool { return s.Lag.Revisions > 100 })
	if grown := int64(heap()) - int64(before); grown > 40<<20 {
		t.Errorf("the heap grew by %d MiB for a burst of 60 MB", grown>>20)
	} else {
		t.Logf("the heap grew by %d MiB", grown>>20)
	}
	must(t, proxy.Restore())
	p.quiet(t)
	p.mustEqual(t)
}

// heap is how many bytes are live.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
