package main

import (
	"context"
	"slices"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/remedy"
)

// attendMembers asks a side's members how they are, and keeps to the majority where
// some disagree. The error is that of a cluster that cannot be read so.
func attendMembers(ctx context.Context, c *cluster.Cluster, data bool) (list []console.Member, ailments []console.Ailment, unasked string, err error) {
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
	list, ailments = membersOf(c, health, agreed)
	return list, ailments, agreed.Unasked, nil
}

// membersOf is the seam between packages cluster and console.
func membersOf(c *cluster.Cluster, h cluster.Health, agreed cluster.Agreement) (list []console.Member, ailments []console.Ailment) {
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
			ailments = append(ailments, console.FullMember(c.Name, m.Label(), c.Space(h)))
		}
	}
	if slices.Contains(h.Adrift, cluster.Corrupt) {
		ailments = append(ailments, console.CorruptMember(c.Name, "",
			"understudy check --deep finds the member whose data is wrong; do not disarm the alarm before it has been replaced"))
	}
	return list, ailments
}
