package replica_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/replica"
)

// A replica that is told to end does so within 2 seconds, whatever it is doing
// and however silent the servers are.
func TestEndsInTimeWhileServersAreSilent(t *testing.T) {
	slow(t)
	t.Parallel()
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

// A replica says once that it does not replicate, and once that it does again,
// when it does; not a thousand times.
func TestOutageIsSaidOnce(t *testing.T) {
	slow(t)
	t.Parallel()
	p := newPair(t)
	proxy, url := p.primary.Proxy(0)
	p.config.Primary.Endpoints = []string{url}
	var log lockedBuffer
	p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	proxy.Cut()
	d.wait(t, "a few attempts", func(s replica.State) bool { return s.Errors["connection"] >= 3 })
	must(t, proxy.Restore())
	d.wait(t, "streaming", streaming)
	p.write(t, 1)
	p.quiet(t)
	text := log.String()
	if down, up := strings.Count(text, "not replicating"), strings.Count(text, "replication went on"); down != 1 || up != 1 {
		t.Errorf("said %d times that it does not replicate and %d times that it does again:\n%s", down, up, text)
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
