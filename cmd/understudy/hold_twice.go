package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/remedy"
)

// namesTwice is how many objects are named that would act on both sides.
const namesTwice = 10

// actTwice says what would act on both sides at once if it were released now; "" where
// the primary does not answer. That its etcd is gone does not prove that its
// controllers are.
func (h holder) actTwice(ctx context.Context, items []hold.Item, workloads []hold.Workload) (string, error) {
	attempt, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	primary, err := dial(attempt, h.pair.Primary)
	if err != nil {
		return h.untold(err), ctx.Err()
	}
	defer primary.Close()
	id, err := primary.Identify(attempt, h.view.Scope.Prefix())
	if err != nil {
		return h.untold(err), ctx.Err()
	}
	var names []string
	for _, i := range items {
		name := i.Name
		if i.Namespace != "" {
			name = i.Namespace + "/" + name
		}
		names = append(names, i.Kind+" "+name)
	}
	for _, w := range workloads {
		names = append(names, "Deployment "+w.Namespace+"/"+w.Name+" (of "+h.pair.Standby.Name+"'s own)")
	}
	shown := strings.Join(names[:min(len(names), namesTwice)], ", ")
	if more := len(names) - namesTwice; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s is alive (its etcd answers, at revision %d), and %s would act beside it on the same machines, volumes and addresses: %s",
		h.pair.Primary.Name, id.Revision, h.pair.Standby.Name, shown), nil
}

// untold says that nobody can tell whether the primary is gone: it has answered, and
// refused us, or we could not even ask. "" where no answer came at all.
func (h holder) untold(err error) string {
	switch remedy.CodeOf(err) {
	case remedy.Auth, remedy.Usage, remedy.Refused:
	default:
		if !cluster.IsDenied(err) && !errors.Is(err, fs.ErrNotExist) {
			return ""
		}
	}
	return fmt.Sprintf("nobody can tell whether %s is gone, for it could not be asked: %s", h.pair.Primary.Name, oneLine(err))
}

func (h holder) refuseTwice(twice string) error {
	again := "understudy hold release"
	if h.opts.cluster != "" {
		again += " --cluster " + h.opts.cluster
	}
	for _, name := range h.opts.self {
		again += " --self-managed " + name
	}
	if h.opts.yes {
		again += " --yes"
	}
	return &remedy.Error{Op: "hold release", Err: errors.New(twice), Code: remedy.Refused,
		Remedy: "stop what acts there first, its API servers and controllers; or, knowing that both will act: " + again + " --primary-is-alive"}
}
