package cluster

import (
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/kv"
)

// Space is what helps against NOSPACE, as commands to paste: the history is dropped,
// each full member gives its space back by itself, and only then is the alarm taken
// off. While a member is CORRUPT as well it stays on: etcdctl takes all alarms off at once.
//
// The history from needed on stays, for somebody will read it; 0 = nobody is known to.
// lost says what follows where it does not stay.
func (c *Cluster) Space(h Health, needed kv.Revision, lost string) string {
	var steps []string
	newest, corrupt := kv.Revision(0), len(h.Adrift) > 0
	for _, m := range h.Members {
		newest = max(newest, m.Revision)
	}
	at := newest
	if needed > 0 {
		at = min(at, needed)
	}
	all := c.config.withEndpoints(c.every)
	steps = append(steps, fmt.Sprintf("%s compact %d --physical --command-timeout=5m", all.Etcdctl(), at))
	for _, m := range h.Members {
		full := false
		for _, a := range m.Alarms {
			full, corrupt = full || a == NoSpace, corrupt || a == Corrupt
		}
		if full {
			steps = append(steps, c.at(m)+" defrag --command-timeout=5m")
		}
	}
	if corrupt {
		return strings.Join(append(steps, "leave the alarm on until the corrupt member has been replaced: it can be taken off only together with that one"), "\n")
	}
	soon := "where it comes back soon, raise --quota-backend-bytes of every member"
	if at < newest {
		soon += fmt.Sprintf(", or compact %d instead: %s", newest, lost)
	}
	return strings.Join(append(steps, all.Etcdctl()+" alarm disarm", soon), "\n")
}

// Replace is how a member whose data is wrong gets that of the others. alarmed: it
// has raised CORRUPT, which is taken off last; the member would serve before.
func (c *Cluster) Replace(m MemberHealth, h Health, alarmed bool) string {
	var others []string
	for _, o := range h.Members {
		if o.ID != m.ID && o.Endpoint != "" && !c.apart(o) {
			others = append(others, o.Endpoint)
		}
	}
	if len(h.Members) == 1 || len(others) == 0 {
		return "no other member has the right data: restore a backup into " + c.Name + "; where it is the standby, give it an empty data directory, and understudy sync fills it. Do not disarm the alarm first"
	}
	ctl := c.config.Etcdctl(others...)
	steps := []string{
		fmt.Sprintf("%s member remove %x", ctl, m.ID),
		"on the host of " + m.Label() + ": stop etcd, and move its data directory away",
		fmt.Sprintf("%s member add %s --peer-urls=%s", ctl, quoteFlag("=" + m.Label())[1:], quoteFlag("=" + strings.Join(m.PeerURLs, ","))[1:]),
		"start etcd there again with --initial-cluster-state=existing and what member add has printed",
	}
	if alarmed {
		steps = append(steps, ctl+" alarm disarm")
	}
	return strings.Join(steps, "\n")
}

func (c *Cluster) apart(m MemberHealth) bool {
	for _, d := range c.deviants {
		if d.ID == m.ID {
			return true
		}
	}
	return false
}

// at is the beginning of a command for one member.
func (c *Cluster) at(m MemberHealth) string {
	switch {
	case m.Endpoint != "":
		return c.config.Etcdctl(m.Endpoint)
	case len(m.ClientURLs) > 0:
		return c.config.Etcdctl(m.ClientURLs[0])
	}
	return c.config.Etcdctl()
}

func (c Config) withEndpoints(endpoints []string) Config {
	c.Endpoints = endpoints
	return c
}
