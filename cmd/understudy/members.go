package main

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/sink"
)

// attendMembers asks a side's members how they are, and keeps to the majority where
// some disagree. The error is that of a cluster that cannot be read so.
func attendMembers(ctx context.Context, c *cluster.Cluster, data bool, history func(context.Context) (kv.Revision, string)) (list []console.Member, ailments []console.Ailment, unasked string, err error) {
	health, err := c.Health(ctx)
	if err != nil {
		return nil, nil, "", err
	}
	var agreed cluster.Agreement
	if data || health.Suspicious() || len(c.Deviants()) > 0 {
		agreed, err = c.Compare(ctx, data)
		if remedy.CodeOf(err) == remedy.Refused {
			return nil, nil, "", err
		}
		if err != nil {
			agreed.Unasked = oneLine(err)
		} else {
			c.Stay(agreed)
		}
	}
	list, ailments = membersOf(c, health, agreed, func() (kv.Revision, string) { return history(ctx) })
	return list, ailments, agreed.Unasked, nil
}

// membersOf is the seam between packages cluster and console.
func membersOf(c *cluster.Cluster, h cluster.Health, agreed cluster.Agreement, history func() (kv.Revision, string)) (list []console.Member, ailments []console.Ailment) {
	for _, m := range h.Members {
		one := console.Member{
			Name: m.Name, ID: cluster.FormatID(m.ID), Version: m.Version, Revision: m.Revision, Leads: m.Leads, Learner: m.Learner,
			Alarms: m.Alarms, Silent: m.Silent,
			Apart: slices.ContainsFunc(agreed.Deviants, func(d cluster.MemberHealth) bool { return d.ID == m.ID }),
		}
		for _, d := range cluster.DefectsOf(m.Version) {
			one.Defects = append(one.Defects, console.Defect{ID: d.ID, What: d.What, Fixed: d.Fixed, Source: d.Source})
		}
		list = append(list, one)
		switch {
		case slices.Contains(m.Alarms, cluster.Corrupt):
			ailments = append(ailments, console.CorruptMember(c.Name, m.Label(), c.Replace(m, h, true)))
		case one.Apart:
			ailments = append(ailments, console.Disagreement(c.Name, m.Label(), agreed.Disagree, c.Replace(m, h, false)))
		}
		if slices.Contains(m.Alarms, cluster.NoSpace) {
			needed, lost := history()
			ailments = append(ailments, console.FullMember(c.Name, m.Label(), c.Space(h, needed, lost)))
		}
	}
	if slices.Contains(h.Adrift, cluster.Corrupt) {
		ailments = append(ailments, console.CorruptMember(c.Name, "",
			"understudy check --deep finds the member whose data is wrong; do not disarm the alarm before it has been replaced"))
	}
	return list, ailments
}

// historyOfPrimary is from where on replication reads the primary's history, which
// the standby's checkpoint says, and what follows where it is compacted; 0 = it reads
// none. key is one that the primary's user may read.
func historyOfPrimary(primary, standby *cluster.Cluster, key string) func(context.Context) (kv.Revision, string) {
	return func(ctx context.Context) (kv.Revision, string) {
		if standby == nil {
			return 0, ""
		}
		stored, err := sink.ReadCheckpoint(ctx, standby.Client)
		if err != nil {
			return 0, ""
		}
		return compactable(ctx, primary, key, stored.Complete(), stored.SourceClusterID), "understudy sync then compares both sides anew, and API clients that are behind list anew"
	}
}

// historyOfStandby is the same of the standby: what others have written there is only
// known from its history.
func historyOfStandby(standby *cluster.Cluster) func(context.Context) (kv.Revision, string) {
	return func(ctx context.Context) (kv.Revision, string) {
		stored, err := sink.ReadCheckpoint(ctx, standby.Client)
		if err != nil {
			return 0, ""
		}
		return compactable(ctx, standby, sink.CheckpointKey, stored.Guarded, ""), "nobody can tell any more what others have written to " + standby.Name + " since " + fmt.Sprint(stored.Guarded)
	}
}

// compactable is a revision where the cluster is the one that it is of, and has not
// compacted it; else 0.
func compactable(ctx context.Context, c *cluster.Cluster, key string, at kv.Revision, id string) kv.Revision {
	if at < 2 {
		return 0
	}
	resp, err := c.Client.Get(ctx, key, clientv3.WithRev(int64(at)-1), clientv3.WithKeysOnly())
	if err != nil || int64(at) > resp.Header.Revision || id != "" && cluster.FormatID(resp.Header.ClusterId) != id {
		return 0
	}
	return at
}
