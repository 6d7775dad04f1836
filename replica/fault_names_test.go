package replica_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// A trip names what it holds back, however it came about: the operator has to know
// which objects to decide about.
func TestTripNamesWhatItHoldsBack(t *testing.T) {
	for name, lose := range map[string]func(p *pair, t *testing.T){
		"deleted": func(p *pair, t *testing.T) { p.deleteMachines(t, 1000) },
		"marked":  func(p *pair, t *testing.T) { p.markMachines(t, 1000) },
		"CRD":     func(p *pair, t *testing.T) { put(t, p.primary.Client(), machinesCRD, definition(true)) },
		"Namespace": func(p *pair, t *testing.T) {
			put(t, p.primary.Client(), "/registry/namespaces/team-1", namespace("team-1", true))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, d := fleet(t)
			lose(p, t)
			trip := p.mustTrip(t, d, "machines.cluster.x-k8s.io")
			p.mustNameMachines(t, trip, int(trip.Losses[0].Deleted))
		})
	}
	for name, lose := range map[string]func(p *pair, t *testing.T, n int){
		"deleted, and compacted": (*pair).deleteMachines,
		"marked, and compacted":  (*pair).markMachines,
	} {
		t.Run(name, func(t *testing.T) {
			p, d := fleet(t)
			d.stop(t)
			lose(p, t, 1000)
			p.write(t, 5)
			compact(t, p.primary.Client(), revision(t, p.primary.Client()))
			p.mustNameMachines(t, p.mustTrip(t, p.start(t), "machines.cluster.x-k8s.io"), 500)
		})
	}
}

func (p *pair) mustNameMachines(t *testing.T, trip role.Trip, atLeast int) {
	t.Helper()
	keys := trip.Losses[0].Keys
	if len(keys) < atLeast {
		t.Errorf("%d keys, want at least %d of %d", len(keys), atLeast, trip.Losses[0].Deleted)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, machineDir) {
			t.Errorf("%s is no machine", key)
		}
	}
}

// The record of a trip fits into what a small standby accepts.
func TestRecordOfATripIsSmall(t *testing.T) {
	p, d := fleet(t)
	d.stop(t)
	p.config.Limits = sink.Limits{MaxBytes: 16 << 10}
	d = p.start(t)
	p.quiet(t)
	p.deleteMachines(t, 1000)
	trip := p.mustTrip(t, d, "machines.cluster.x-k8s.io")
	p.mustNameMachines(t, trip, 20)
	if raw, _ := get(t, p.standby.Client(), role.TripKey); len(raw) > 8<<10 {
		t.Errorf("%d bytes", len(raw))
	}
}

// A session that has nothing to write notices a pause as well, and a daemon that is
// paused still says that the breaker has tripped.
func TestIdleDaemonNoticesAPause(t *testing.T) {
	p, d := fleet(t)
	pause := func() {
		t.Helper()
		if _, err := role.SetPause(t.Context(), p.standby.Client(), role.Pause{By: "a test"}); err != nil {
			t.Fatal(err)
		}
		d.wait(t, "the pause", func(s replica.State) bool {
			return s.Phase == replica.Paused && s.Pause != nil && s.Pause.By == "a test"
		})
	}
	pause()
	if d.State().Err != nil || d.State().Leading {
		t.Errorf("%+v", d.State())
	}
	if _, err := role.ClearPause(t.Context(), p.standby.Client()); err != nil {
		t.Fatal(err)
	}
	d.wait(t, "streaming", func(s replica.State) bool { return s.Phase == replica.Streaming && s.Leading && s.Pause == nil })
	p.deleteMachines(t, 1000)
	p.mustTrip(t, d, "machines.cluster.x-k8s.io")
	pause()
	if err := d.State().Err; !errors.Is(err, replica.ErrTripped) || replica.TripOf(err).Losses[0].Deleted != 1000 {
		t.Errorf("%v", err)
	}
}

// A single copy beside a leader that the breaker has halted says so.
func TestOnceMeetsTheTripOfAnother(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 1000)
	p.mustTrip(t, d, "machines.cluster.x-k8s.io")
	if _, err := p.new(t).Once(t.Context()); !errors.Is(err, replica.ErrTripped) {
		t.Errorf("%v", err)
	}
}

// A trip that stands is said also while the primary does not answer any more.
func TestTripIsSaidWithoutThePrimary(t *testing.T) {
	p, d := fleet(t)
	p.deleteMachines(t, 1000)
	p.mustTrip(t, d, "machines.cluster.x-k8s.io")
	p.primary.Kill()
	s := d.wait(t, "the daemon to give the primary up", func(s replica.State) bool { return s.Phase == replica.Connecting && s.Err != nil })
	if s.Trip == nil || replica.TripOf(s.Err) != nil {
		t.Errorf("%s: %v, trip %v", s.Phase, s.Err, s.Trip)
	}
}
