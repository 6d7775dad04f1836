package replica

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/remedy"
)

// errMembers ends a session that may have read from a member that disagrees with
// the majority, or that leaves one out which has been replaced; the next one looks.
var errMembers = errors.New("members of a cluster disagree, or do no more; connecting to the majority anew")

// hashEvery bounds how often sessions that begin read the members' whole data.
const hashEvery = 5 * time.Minute

// stay compares the members of a cluster that a session is about to use, and keeps
// to the majority. Whatever else goes wrong meanwhile is for the session to meet.
func (r *Replica) stay(ctx context.Context, c *cluster.Cluster) error {
	data := r.suspect.Load() || time.Since(r.hashed[c.Name]) >= hashEvery
	agreed, err := c.Compare(ctx, data)
	if remedy.CodeOf(err) == remedy.Refused {
		return err
	}
	if err != nil {
		r.Log.Debug("could not compare the members", "cluster", c.Name, "error", err)
		return nil
	}
	if data && len(agreed.Deviants) == 0 {
		r.hashed[c.Name] = time.Now() // what is wrong is looked at every time
	}
	c.Stay(agreed)
	r.tellApart(c.Name, agreed)
	return nil
}

// tellApart says once that members disagree, and once that they do not any more.
func (r *Replica) tellApart(name string, agreed cluster.Agreement) {
	var labels []string
	for _, m := range agreed.Deviants {
		labels = append(labels, m.Label())
	}
	is, was := strings.Join(labels, ", "), r.apart[name]
	switch {
	case is == was:
	case is == "":
		r.Log.Info("the members agree again", "cluster", name)
	default:
		r.Log.Warn("etcd members disagree: the majority is followed, and not these", "cluster", name, "members", is,
			"how", strings.Join(agreed.Disagree, "; "), "remedy", "understudy preflight says how to replace them")
	}
	r.apart[name] = is
	r.account.update(func(s *State) {
		apart := map[string][]string{}
		for other, how := range s.Apart {
			apart[other] = how
		}
		apart[name] = agreed.Disagree
		s.Apart = apart
	})
}

// MembersDisagree tells a replica that members of the cluster with this name were
// found to. A session that may be reading from them begins anew with the majority.
func (r *Replica) MembersDisagree(name string) {
	if s := r.live.Load(); s != nil && len(r.State().Apart[name]) == 0 {
		r.suspect.Store(true)
		s.end(errMembers)
	}
}

// MembersAgree tells a replica that all members of the cluster with this name hold the
// same data. A session that leaves one out begins anew, with all of them.
func (r *Replica) MembersAgree(name string) {
	if s := r.live.Load(); s != nil && len(r.State().Apart[name]) > 0 {
		r.suspect.Store(true)
		s.end(errMembers)
	}
}
