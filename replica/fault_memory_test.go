package replica_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
)

// Fault 12: 40,000 objects of 5 KiB and writers at full speed, both while the
// copy runs and after it. The daemon's memory stays below 256 MiB, and it
// catches up.
func TestBigAndBusyIsBounded(t *testing.T) {
	slow(t)
	p := &pair{primary: testkit.StartEtcd(t), standby: testkit.StartEtcd(t)}
	p.config = p.defaults(t)
	p.config.LeaseTTL = 10 * time.Second
	fill(t, p.primary.Client(), fixture.Options{Seed: 12, Objects: 40_000, ValueBytes: 5 << 10})
	var loads []*workload
	for _, name := range []string{"a", "b"} {
		loads = append(loads, p.load(t, func(w *checker.Workload) {
			w.Prefix, w.Pace, w.Keys = "/registry/configmaps/prod/"+name+"-", 0, 1000
			w.Value = func(key, unique string) []byte { return object(key, unique+strings.Repeat(".", 2<<10)) }
		}))
	}
	c := p.spawn(t, "daemon", func(c *childConfig) { c.MemoryLimit = 192 << 20 }) // as the command sets it
	c.says(t, "msg=streaming", 0)
	written := loads[0].Last()
	testkit.Eventually(t, 60*time.Second, "writes while it streams", func() (bool, string) { return loads[0].Last() > written+2000, "" })
	for _, l := range loads {
		l.end()
	}
	p.quiet(t)
	peak, err := c.PeakRSS()
	must(t, err)
	t.Logf("peak %d MiB", peak>>20)
	if peak > 256<<20 && !raceEnabled {
		t.Errorf("the daemon took %d MiB", peak>>20)
	}
	p.mustEqual(t)
	for _, l := range loads {
		p.mustHaveLostNothing(t, l)
	}
}
