package replica_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/sink"
)

// Somebody creates a key on the standby, deletes it and creates it again: the
// new one is not ours either, and a resync spares it.
func TestResyncSparesAForeignKeyThatWasCreatedAgain(t *testing.T) {
	slow(t)
	p := newPair(t)
	d := p.start(t)
	d.wait(t, "streaming", streaming)
	const key = "/registry/configmaps/prod/foreign"
	for round := range 2 {
		created := put(t, p.standby.Client(), key, configMap(round))
		testkit.Eventually(t, 20*time.Second, "the guard to have looked at it", func() (bool, string) {
			p.write(t, 1) // every transaction says how far the guard is
			c, err := sink.ReadCheckpoint(t.Context(), p.standby.Client())
			return err == nil && c.Guarded >= created, fmt.Sprintf("guarded to %d, created at %d, %v", c.Guarded, created, err)
		})
		if round == 0 {
			remove(t, p.standby.Client(), key)
		}
	}
	d.stop(t)
	p.write(t, 1)
	compact(t, p.primary.Client(), revision(t, p.primary.Client()))
	d = p.start(t)
	p.quiet(t)
	d.wait(t, "streaming", streaming)
	if value, there := get(t, p.standby.Client(), key); !there || value != configMap(1) {
		t.Errorf("the key is %q, %v", value, there)
	}
}
