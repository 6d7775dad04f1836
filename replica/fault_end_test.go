package replica_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/replica"
)

// A replica that is told to end does so within 2 seconds, whatever it is doing
// and however silent the servers are.
func TestEndsInTimeWhileServersAreSilent(t *testing.T) {
	slow(t)
	for name, tc := range map[string]struct {
		phase            replica.Phase
		primary, standby bool // silent
	}{
		"streaming, standby silent": {phase: replica.Streaming, standby: true},
		"streaming, primary silent": {phase: replica.Streaming, primary: true},
		"streaming, both silent":    {phase: replica.Streaming, primary: true, standby: true},
		"waiting, standby silent":   {phase: replica.Waiting, standby: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.config.LeaseTTL = 10 * time.Second
			if tc.phase == replica.Waiting {
				p.start(t).wait(t, "streaming", streaming)
			}
			primary, primaryURL := p.primary.Proxy(0)
			standby, standbyURL := p.standby.Proxy(0)
			p.config.Primary.Endpoints, p.config.Standby.Endpoints = []string{primaryURL}, []string{standbyURL}
			r := p.new(t)
			ctx, cancel := context.WithCancel(t.Context())
			d := &daemon{Replica: r, cancel: cancel, done: make(chan error, 1)}
			go func() { d.done <- r.Run(ctx) }()
			d.wait(t, string(tc.phase), func(s replica.State) bool { return s.Phase == tc.phase })
			if tc.primary {
				primary.Blackhole(faultproxy.Both)
			}
			if tc.standby {
				standby.Blackhole(faultproxy.Both)
			}
			p.write(t, 5) // so that there is something under way
			told := time.Now()
			cancel()
			if err := <-d.done; err != nil {
				t.Error(err)
			}
			if took := time.Since(told); took > 2*time.Second {
				t.Errorf("it took %s to end", took.Round(10*time.Millisecond))
			}
		})
	}
}
