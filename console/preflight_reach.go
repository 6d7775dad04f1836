package console

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// PreflightReach is how one side is reached from here.
type PreflightReach struct {
	Address  string          // its own, access.addresses
	Resolved Found[[]string] // the addresses that it has now
	Clock    Found[ClockFacts]
	Link     Found[LinkFacts] // to its etcd

	VIPEtcd, VIPAPI Found[Behind]   // who answers on these ports of the VIP
	VIPRedirect     Found[string]   // where the platform sends a client who comes by the VIP; "" = nowhere
	VIPAsked        map[string]bool // which of "etcd", "API server", "redirect" were to be asked
}

// ClockFacts are how far the clocks of a side's API servers are from this
// machine's, to within Slack; Apart is how far they are from each other at least.
type ClockFacts struct{ Ahead, Slack, Apart time.Duration }

// LinkFacts are measured by reading a little.
type LinkFacts struct {
	RoundTrip   time.Duration
	SampleBytes int64
	SampleTime  time.Duration
	Keys, Bytes int64 // all of them, as they were counted
}

// Behind is who answers behind a port of a VIP.
type Behind struct {
	EndsTLS bool   // it shows a certificate that is not of the side's authority
	Whose   string // that certificate's
	Wrong   string // which other cluster answers; "" = the side's own
}

const (
	clockWarns = 2 * time.Second
	clockFails = 15 * time.Second // the shortest Lease duration of controllers
)

// judgeClocks: Leases, certificates and tokens compare the times of one side with
// the clock of another.
func judgeClocks(f PreflightFacts) (lines []PreflightLine) {
	const next = "let all machines of both sides ask the same time servers (chrony, ntp)"
	grade := func(least time.Duration) PreflightState {
		switch {
		case least >= clockFails:
			return CheckFail
		case least >= clockWarns:
			return CheckWarn
		}
		return CheckOK
	}
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		if c := side.Clock; c.Known && grade(c.Value.Apart) != CheckOK {
			lines = append(lines, checked(grade(c.Value.Apart), next, "the API servers of %s disagree about the time by %s or more", side.Name, age(c.Value.Apart))...)
		}
	}
	p, s, missing := both(f, "clocks of both sides", bothKubeconfigs, func(s PreflightSide) Found[ClockFacts] { return s.Clock })
	if missing != nil {
		return append(lines, missing...)
	}
	apart, slack := (s.Ahead - p.Ahead).Abs(), p.Slack+s.Slack
	text := fmt.Sprintf("clocks: %s and %s are %s apart (to within %s)", f.Primary.Name, f.Standby.Name, age(apart), age(slack))
	switch state := grade(apart - slack); {
	case state != CheckOK:
		return append(lines, checked(state, next, "%s", text)...)
	case apart+slack >= clockFails:
		return append(lines, unchecked("ask from a machine that is nearer", "clocks of both sides", text)...)
	case lines != nil:
		return lines
	}
	return checked(CheckOK, "", "%s", text)
}

const (
	// compaction is how long API servers leave a revision readable at least.
	compaction = 5 * time.Minute
	// copyWriters and copyKeys are how many transactions a copy has under way, and
	// how many keys each has, about.
	copyWriters = 8
	copyKeys    = 128
	// commit is what etcd takes for one of them beyond the way there and back, on a
	// disk as it should be.
	commit = 10 * time.Millisecond
)

// foresee is how long a first copy takes, about: it reads and writes at the same
// time, so the slower of both counts.
func (l LinkFacts) foresee(standby LinkFacts) time.Duration {
	read := time.Duration(0)
	if l.SampleBytes > 0 {
		read = time.Duration(float64(l.SampleTime) * float64(l.Bytes) / float64(l.SampleBytes))
	}
	transactions := (l.Keys + copyKeys - 1) / copyKeys
	write := time.Duration(transactions) * (standby.RoundTrip + commit) / copyWriters
	return max(read, write)
}

// judgeLink: a copy reads the primary at one revision, which API servers compact
// away after five to ten minutes.
func judgeLink(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "the way to both etcds", "understudy status", func(s PreflightSide) Found[LinkFacts] { return s.Link })
	if missing != nil {
		return missing
	}
	if p.Keys == 0 {
		return unchecked("understudy status", "how long a copy takes", "nothing was read of "+f.Primary.Name)
	}
	took := p.foresee(s)
	speed := ""
	if p.SampleTime > 0 {
		speed = fmt.Sprintf(", %.1f MiB/s", float64(p.SampleBytes)/(1<<20)/p.SampleTime.Seconds())
	}
	text := fmt.Sprintf("from here %s is %.1f ms away%s, %s %.1f ms; a copy of all %s keys (%.1f MiB) takes about %s", f.Primary.Name, milliseconds(p.RoundTrip), speed,
		f.Standby.Name, milliseconds(s.RoundTrip), number(p.Keys), float64(p.Bytes)/(1<<20), age(took))
	const slower = "run understudy nearer to the standby or give the link more; or raise --etcd-compaction-interval of the primary's API servers for the first copy; " +
		"or restore the standby from a snapshot of the primary first"
	switch {
	case took > 2*compaction:
		return checked(CheckFail, slower, "%s, longer than API servers keep a revision: it would begin again for ever", text)
	case took > compaction:
		return checked(CheckWarn, slower, "%s, as long as API servers keep a revision: it may begin again", text)
	}
	return checked(CheckOK, "", "%s", text)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// judgeVIP: that a port takes connections does not say whose it is.
func judgeVIP(f PreflightFacts) (lines []PreflightLine) {
	asked := false
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		if side.VIP == "" {
			lines = append(lines, unchecked("set vip of this side", "where the VIP of "+side.Name+" leads", "vip is not set")...)
			continue
		}
		for _, port := range []struct {
			what   string
			behind Found[Behind]
		}{{"etcd", side.VIPEtcd}, {"API server", side.VIPAPI}} {
			if !side.VIPAsked[port.what] {
				continue
			}
			asked = true
			b := port.behind.Value
			switch {
			case !port.behind.Known:
				lines = append(lines, unchecked("see the check ports, and the load balancer before it", fmt.Sprintf("whose %s answers at %s's VIP", port.what, side.Name), orUnknown(port.behind.Why))...)
			case b.EndsTLS:
				lines = append(lines, checked(CheckFail, "let the load balancer pass TCP through (layer 4): "+port.what+"s check clients by their certificates",
					"a load balancer ends TLS at %s's VIP %s, where its %s should answer: the certificate there (%s) is not of the cluster's authority", side.Name, side.VIP, port.what, nothingAt(b.Whose))...)
			case b.Wrong != "":
				lines = append(lines, checked(CheckFail, "correct the load balancer's backends, or vip of this side", "the VIP %s of %s leads to %s", side.VIP, side.Name, b.Wrong)...)
			default:
				lines = append(lines, checked(CheckOK, "", "the VIP of %s leads to its own %s", side.Name, port.what)...)
			}
		}
	}
	if !asked && lines == nil {
		return checked(CheckOK, "", "neither VIP is to pass on etcd or the API server (access.ports)")
	}
	return lines
}

// judgeVIPNode: an address of a machine goes with the machine.
func judgeVIPNode(f PreflightFacts) (lines []PreflightLine) {
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		for _, node := range side.Nodes.Value {
			for _, address := range node.Addresses {
				if sameHost(address, side.VIP) {
					lines = append(lines, checked(CheckWarn, "put a load balancer before the masters, which outlives each of them", "the VIP %s of %s is the address of its node %s", side.VIP, side.Name, node.Name)...)
				}
			}
		}
	}
	return lines
}

// judgeRedirect: before the name moves, the standby's console is reached by its VIP.
func judgeRedirect(f PreflightFacts) (lines []PreflightLine) {
	for _, pair := range [][2]PreflightSide{{f.Primary, f.Standby}, {f.Standby, f.Primary}} {
		side, other := pair[0], pair[1]
		to := side.VIPRedirect
		says := func(state PreflightState, remedy, follows string) {
			lines = append(lines, checked(state, remedy, "https://%s/ of %s sends clients to %s%s", inURL(side.VIP), side.Name, to.Value, follows)...)
		}
		switch {
		case !side.VIPAsked["redirect"]:
		case !to.Known:
			lines = append(lines, unchecked("see the check ports", "whether "+side.Name+"'s platform answers at its VIP", orUnknown(to.Why))...)
		case to.Value == "":
			lines = append(lines, checked(CheckOK, "", "%s answers at its VIP by itself", side.Name)...)
		case Covers(f.Address, to.Value) && !Covers(side.Address, to.Value):
			says(CheckWarn, "add the VIP to the platform's other access addresses", ": while that leads to the other side, nobody reaches this one's console")
		case sameHost(to.Value, other.VIP), Covers(other.Address, to.Value):
			says(CheckFail, "correct the platform's access address there", ", which is "+other.Name+": it dies with that")
		case sameHost(to.Value, side.VIP), Covers(side.Address, to.Value), coversAny(f.Names, to.Value):
			lines = append(lines, checked(CheckOK, "", "%s answers at its VIP, as %s", side.Name, to.Value)...)
		default:
			says(CheckWarn, "correct the platform's access address; where that host is meant, and outlives either side, name it in access.names", ", which is no name of this pair (access)")
		}
	}
	return lines
}

func coversAny(names []string, host string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return Covers(name, host) })
}

// judgeAddresses: names of the sides themselves lead each to its own.
func judgeAddresses(f PreflightFacts) (lines []PreflightLine) {
	for _, pair := range [][2]PreflightSide{{f.Primary, f.Standby}, {f.Standby, f.Primary}} {
		side, other := pair[0], pair[1]
		switch r := side.Resolved; {
		case side.Address == "":
		case !r.Known:
			lines = append(lines, checked(CheckWarn, "enter it in the DNS that clients use", "the address %s of %s has no address from here: %s", side.Address, side.Name, orUnknown(r.Why))...)
		case side.VIP == "":
			lines = append(lines, unchecked("set vip of this side", "where "+side.Address+" leads", "vip is not set")...)
		case leadsTo(r.Value, other.VIP):
			lines = append(lines, checked(CheckFail, "correct the DNS, or access.addresses", "%s, the name of %s, leads to the VIP of %s", side.Address, side.Name, other.Name)...)
		case !leadsTo(r.Value, side.VIP):
			lines = append(lines, checked(CheckWarn, "let it lead to "+side.VIP, "%s leads to %s, not to %s's VIP", side.Address, strings.Join(r.Value, ", "), side.Name)...)
		default:
			lines = append(lines, checked(CheckOK, "", "%s leads to %s's VIP", side.Address, side.Name)...)
		}
	}
	return lines
}

func leadsTo(addresses []string, vip string) bool {
	for _, a := range addresses {
		if sameHost(a, vip) {
			return true
		}
	}
	return false
}
