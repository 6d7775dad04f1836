package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// forgettable is a record of ours that a person may make the standby forget.
type forgettable struct {
	name string // as it is typed; "" = by its key
	key  string // of the record, or what it begins with
	// holds says what is in it; an error says why that cannot be read.
	holds func(raw []byte) (string, error)
	// then says what follows when it is gone.
	then func(raw []byte) []string
}

// forgettables are all of them. What is not here is no record of its own: the lead,
// an order to pause (understudy resume), the daemon's report.
var forgettables = []forgettable{
	{"checkpoint", sink.CheckpointKey, holdsCheckpoint, afterCheckpoint},
	{"role", role.Key, holdsRole, func([]byte) []string {
		return []string{"the next sync writes the role anew, for the primary that is configured then, once that answers"}
	}},
	{"breaker", role.TripKey, holdsTrip, afterTrip},
	{"", hold.WorkloadDir, func(raw []byte) (string, error) { return "how many replicas the Deployment had", nil }, func([]byte) []string {
		return []string{"hold release leaves that Deployment as it is from then on"}
	}},
	{"", scope.HeldPrefix + "/", func(raw []byte) (string, error) {
		return fmt.Sprintf("the original of an object, %d bytes", len(raw)), nil
	}, func([]byte) []string {
		return []string{"with the primary gone this was the last copy of the object"}
	}},
}

// forgettableOf finds what an argument names.
func forgettableOf(arg string) (forgettable, error) {
	for _, f := range forgettables {
		switch {
		case f.name != "" && (arg == f.name || arg == f.key):
			return f, nil
		case f.name == "" && strings.HasPrefix(arg, f.key) && len(arg) > len(f.key):
			f.key = arg
			return f, nil
		}
	}
	return forgettable{}, fmt.Errorf("%q is no record that can be forgotten: it may be checkpoint, role, breaker, or a key below %s or %s/",
		arg, hold.WorkloadDir, scope.HeldPrefix)
}

func holdsCheckpoint(raw []byte) (string, error) {
	c, err := sink.ParseCheckpoint(raw)
	if err != nil {
		return "", err
	}
	if c.Complete() == 0 {
		return fmt.Sprintf("an unfinished first copy of %s, at its revision %d", c.SourceClusterID, c.SourceRevision), nil
	}
	return fmt.Sprintf("everything of %s up to its revision %d, as of %s", c.SourceClusterID, c.Complete(), c.Time.Format(time.RFC3339)), nil
}

func afterCheckpoint(raw []byte) []string {
	since := "since the last complete copy"
	if c, err := sink.ParseCheckpoint(raw); err == nil && c.Complete() != 0 {
		since = fmt.Sprintf("since its revision %d", c.Complete())
	}
	return []string{
		"the next sync compares both sides anew and writes to the standby what differs",
		"what the primary has deleted " + since + " is not deleted on the standby: it stays as surplus, and understudy check names it",
	}
}

func holdsRole(raw []byte) (string, error) {
	var s role.State
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s of pair %q with the peer %s, term %d, since %s", s.Role, s.Pair, s.Peer, s.Term, s.Since.Format(time.RFC3339)), nil
}

func holdsTrip(raw []byte) (string, error) {
	var t role.Trip
	if len(raw) == 0 {
		return "", errors.New("it is empty")
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return "", err
	}
	answer := "nobody has answered it"
	if t.Answer != nil {
		answer = fmt.Sprintf("answered by %s at %s", t.Answer.By, t.Answer.At.Format(time.RFC3339))
	}
	return t.String() + "; " + answer, nil
}

func afterTrip(raw []byte) []string {
	then := []string{"the breaker judges anew what the primary deletes, and stops replication again where that is too much; an answer that was given has to be given again"}
	var t role.Trip
	if json.Unmarshal(raw, &t) == nil && len(t.Resyncs()) > 0 {
		then = append(then, "nothing says any more that resume --resync kept what the primary had lost: it stays on the standby, as surplus")
	}
	return then
}
