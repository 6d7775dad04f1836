package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/sink"
)

// cure is what an error needs.
type cure int

const (
	byTime   cure = iota // try again, less and less often
	byPerson             // going on would be wrong until somebody has decided
	atOnce               // nothing is wrong: somebody else leads, or the checkpoint has to be read again
)

func cureOf(err error) cure {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, sink.ErrFenced), errors.Is(err, errPaused),
		errors.Is(err, sink.ErrMoved), errors.Is(err, errLostLead), errors.Is(err, errMembers):
		return atOnce
	}
	switch remedy.CodeOf(err) {
	case remedy.Refused, remedy.Auth, remedy.Usage:
		return byPerson
	}
	if errors.Is(err, registry.ErrUndecodable) {
		return byPerson
	}
	return byTime
}

// explain gives the errors that etcd may answer any request with their remedy.
func explain(err error) error {
	switch {
	case errors.Is(err, sink.ErrNoSpace):
	case errors.Is(err, rpctypes.ErrNoSpace): // also a lease is refused, without which nobody can lead
		err = fmt.Errorf("%w: %w", sink.ErrNoSpace, err)
	case cluster.IsDenied(err) && remedy.CodeOf(err) != remedy.Auth:
		return cluster.Denied("replicate", err)
	case errors.Is(err, rpctypes.ErrCorrupt) && remedy.Of(err) == "":
		return &remedy.Error{Op: "replicate", Err: err,
			Remedy: "understudy preflight names the member whose data is wrong, and how to replace it; do not disarm the alarm first"}
	default:
		return err
	}
	return &remedy.Error{Op: "write to the standby", Err: err,
		Remedy: "make space in the standby's etcd: understudy preflight names the full members, with the commands; replication goes on by itself"}
}

// outage logs the first error of a row, and again only when another kind of
// cure is needed.
type outage struct {
	log      *slog.Logger
	since    time.Time
	attempts int
	cure     cure
}

func (o *outage) say(c cure, err error) {
	o.attempts++
	if o.attempts > 1 && o.cure == c {
		o.log.Debug("still not replicating", "error", err, "attempts", o.attempts)
		return
	}
	if o.attempts == 1 {
		o.since = time.Now()
	}
	o.cure = c
	args := []any{"error", err}
	if r := remedy.Of(err); r != "" {
		args = append(args, "remedy", r)
	}
	switch c {
	case byPerson:
		o.log.Error("halted; nothing was skipped", args...)
	case atOnce:
		o.log.Info("beginning again", args...)
	default:
		o.log.Warn("not replicating; trying again until it works", args...)
	}
}

// over ends a row of errors: replication streams again.
func (o *outage) over() {
	if o.attempts > 0 {
		o.log.Info("replication went on", "after", time.Since(o.since).Round(time.Second), "attempts", o.attempts)
	}
	o.attempts = 0
}
