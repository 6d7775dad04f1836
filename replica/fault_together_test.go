package replica_test

import (
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Namespaces that are deleted together are one loss, however small each is, in
// the stream and in a resync.
func TestNamespacesDeletedTogetherCountTogether(t *testing.T) {
	for name, tc := range map[string]struct {
		namespaces, each int
		compacted        bool
	}{
		"stream":                           {4, 250, false},
		"resync":                           {4, 250, true},
		"stream, none above the floor":     {20, 15, false},
		"resync, none above the floor":     {20, 15, true},
		"stream, one that was let through": {4, 250, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := teams(t, tc.namespaces, tc.each)
			all := tc.namespaces * tc.each
			before := 0
			if strings.HasSuffix(name, "let through") {
				before = 1
				d := p.start(t)
				d.wait(t, "streaming", streaming)
				p.markTeams(t, 0, 1)
				p.quiet(t)
				p.markTeams(t, 1, 2)
				s := d.wait(t, "the breaker to trip", tripped)
				mustTripOn(t, s.Err, "Namespace team-1", fmt.Sprintf("%d of 1,000 %s", 2*tc.each, teamMachines), "250 of them")
			} else {
				p.markTeams(t, 0, tc.namespaces)
				if tc.compacted {
					p.compactAll(t)
				}
				_, err := p.new(t).Once(t.Context())
				mustTripOn(t, err, "Namespace team-0", fmt.Sprintf("of %s %s", strings.Replace(fmt.Sprint(all), "1000", "1,000", 1), teamMachines))
			}
			if n := p.marked(t, "/registry/namespaces/"); n != before {
				t.Errorf("%d Namespaces are being deleted on the standby, want %d", n, before)
			}
		})
	}
}

// A Namespace that is deleted and Machines that are deleted elsewhere are one loss, too.
func TestNamespaceCountsWithWhatIsDeletedBeside(t *testing.T) {
	for name, compacted := range map[string]bool{"stream": false, "resync": true} {
		t.Run(name, func(t *testing.T) {
			p := teams(t, 4, 100)
			p.deleteTeam(t, 1, 0, 80)
			p.markTeams(t, 0, 1)
			if compacted {
				p.compactAll(t)
			}
			_, err := p.new(t).Once(t.Context())
			mustTripOn(t, err, "180 of 400 "+teamMachines)
			if n := count(t, p.standby.Client(), machineDir); n != 400 || p.marked(t, "/registry/namespaces/") != 0 {
				t.Errorf("%d Machines are left, %d Namespaces are being deleted", n, p.marked(t, "/registry/namespaces/"))
			}
		})
	}
}

// What goes with an accepted Namespace counts no second time for another one.
func TestAcceptedNamespacesGoTogether(t *testing.T) {
	for name, compacted := range map[string]bool{"stream": false, "resync": true} {
		t.Run(name, func(t *testing.T) {
			p := teams(t, 4, 100)
			p.markTeams(t, 0, 2)
			if compacted {
				p.compactAll(t)
			}
			d := p.start(t)
			d.wait(t, "the breaker to trip", tripped)
			p.answer(t, p.standingTrip(t), true)
			p.quiet(t)
			p.mustEqual(t)
		})
	}
}

// All objects of a definition that went with it are too many even where they
// are few, also where a resync finds both gone.
func TestDefinitionGoneWithFewObjectsStopsAResync(t *testing.T) {
	p := teams(t, 1, 15)
	p.deleteTeam(t, 0, 0, 15)
	remove(t, p.primary.Client(), machinesCRD)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "15 of 15 "+teamMachines)
	if _, there := get(t, p.standby.Client(), machinesCRD); !there || count(t, p.standby.Client(), machineDir) != 15 {
		t.Error("they are gone on the standby")
	}
}

// A resync takes the share of what the standby had, not of what the primary has
// in its place by now.
func TestReplacedObjectsAreLostInAResync(t *testing.T) {
	p := teams(t, 1, 100)
	p.deleteTeam(t, 0, 0, 100)
	p.putTeam(t, 0, 5000, 5400)
	p.compactAll(t)
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "100 of 100 "+teamMachines)
	if _, there := get(t, p.standby.Client(), fmt.Sprintf("%steam-0/m-%04d", machineDir, 7)); !there {
		t.Error("they are gone on the standby")
	}
}

// An acceptance is for what was gone when it was given. What a resync finds was
// deleted later trips again, also where nobody can tell when it was.
func TestAcceptanceEndsInAResyncToo(t *testing.T) {
	for name, forgotten := range map[string]bool{"the primary knows when": false, "it has compacted it": true} {
		t.Run(name, func(t *testing.T) {
			p := teams(t, 1, 1000)
			d := p.start(t)
			d.wait(t, "streaming", streaming)
			p.deleteTeam(t, 0, 0, 400)
			d.wait(t, "the breaker to trip", tripped)
			d.stop(t)
			p.answer(t, p.standingTrip(t), true)
			at := revision(t, p.primary.Client())
			p.putTeam(t, 0, 0, 400) // brought back after the answer, and others deleted
			p.deleteTeam(t, 0, 500, 900)
			if forgotten {
				at = revision(t, p.primary.Client())
			}
			compact(t, p.primary.Client(), at)
			_, err := p.new(t).Once(t.Context())
			mustTripOn(t, err, "400 of 600 "+teamMachines)
			if n := count(t, p.standby.Client(), machineDir); n != 1000 {
				t.Errorf("%d Machines are left", n)
			}
		})
	}
}

// A burst that does not fit into the queue is judged as a whole all the same. It
// is over before anybody looks, so that no slow disk makes two of it.
func TestBurstLargerThanTheQueueIsJudgedWhole(t *testing.T) {
	p := teams(t, 1, 1000)
	mark := fmt.Sprintf(`"metadata":{"deletionTimestamp":"2026-01-02T03:04:05Z","finalizers":[%q],`, strings.Repeat("x", 40_000))
	for first := 0; first < 1000; first += 20 {
		p.eachOfTeam(t, 0, first, first+20, func(key, value string) clientv3.Op {
			return clientv3.OpPut(key, strings.Replace(value, `"metadata":{`, mark, 1))
		})
	}
	_, err := p.new(t).Once(t.Context())
	mustTripOn(t, err, "1,000 of 1,000 "+teamMachines)
	if n := p.marked(t, machineDir); n != 0 {
		t.Errorf("%d Machines are being deleted on the standby", n)
	}
	p.answer(t, p.standingTrip(t), true)
	p.start(t)
	p.quiet(t)
	p.mustEqual(t)
}
