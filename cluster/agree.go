package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/understudy-dr/understudy/remedy"
)

// Agreement says whether the members of one cluster are of one mind. Members that
// lag agree: they will have what the others have. Members disagree where one has
// another revision than others after as many entries of their log, or other data
// at one revision; no waiting mends that.
type Agreement struct {
	// Disagree are sentences, one for each pair that does; empty = none was seen to.
	Disagree []string
	// Deviants are the members outside of the majority, where there is one.
	Deviants []MemberHealth
	// Unasked is why not every member was compared; "" = all were.
	Unasked string
	// Hashed: the data was compared as well, not only the revisions.
	Hashed bool

	keep []string // endpoints of the majority, of those that are configured
}

// ErrNoMajority means that members disagree, and so few of them answer that nobody
// can say which are right.
var ErrNoMajority = errors.New("its members disagree, and none of their opinions has a majority")

// stand is where a member was, by two readings: after asked[0] entries of its log
// its revision was at most revision[0], after asked[1] at least revision[0].
// A status is no snapshot: etcd reads the applied index first, the revision later.
type stand struct {
	member   MemberHealth
	applied  [rounds]uint64
	revision [rounds]int64
	hash     uint32
	hashed   bool
	answered bool
}

// rounds is how often members are asked for a proof.
const rounds = 3

// behind reports whether s lacks revisions that other has at the same place in the
// log: other had at least revision r after n entries, and s, read later, at least n
// entries and less than r.
func (s stand) behind(other stand) bool {
	return s.applied[2] >= other.applied[1] && s.revision[2] < other.revision[0]
}

// suspicious is behind by a single reading, which under load proves nothing.
func (s stand) suspicious(other stand) bool {
	return s.applied[0] >= other.applied[0] && s.revision[0] < other.revision[0]
}

// Compare asks every member where it stands; with data, it also compares a hash
// of all that they hold (HashKV), which reads each member's whole database once.
// With etcd's authentication on, that needs the role root. Nothing is changed.
//
// Members that are not configured are asked by the addresses that they advertise,
// with data, and where the configured ones disagree.
func (c *Cluster) Compare(ctx context.Context, data bool) (Agreement, error) {
	out, err := c.compare(ctx, data, data)
	if errors.Is(err, ErrNoMajority) && !data {
		out, err = c.compare(ctx, data, true)
	}
	if err == nil && len(out.Deviants) > 0 && len(out.keep) == 0 {
		err = &remedy.Error{Op: "read " + c.Name, Err: fmt.Errorf("the members that are configured disagree with the majority: %s", strings.Join(out.Disagree, "; ")),
			Remedy: "name every member in etcd.endpoints of " + c.Name, Code: remedy.Refused}
	}
	return out, err
}

func (c *Cluster) compare(ctx context.Context, data, advertised bool) (Agreement, error) {
	endpoints := c.every
	listing, cancel := context.WithTimeout(ctx, c.config.DialTimeout)
	list, listErr := c.list(listing)
	cancel()
	if advertised {
		endpoints = slices.Clone(endpoints)
		for _, m := range list {
			for _, u := range m.ClientURLs {
				if !slices.Contains(endpoints, u) {
					endpoints = append(endpoints, u)
				}
			}
		}
	}
	answers, err := c.ask(ctx, endpoints, patience)
	if err != nil {
		return Agreement{}, err
	}
	var all []stand
	voters := 0
	for _, m := range join(answers, list, listErr).Members {
		all = append(all, stand{member: m, answered: m.Endpoint != ""})
		if !m.Learner {
			voters++
		}
	}
	if listErr != nil {
		voters = max(voters, len(c.every))
	}
	for round := 0; ; {
		endpoints = endpoints[:0:0]
		for i := range all {
			s := &all[i]
			at := slices.IndexFunc(answers, func(a answer) bool { return a.err == nil && a.endpoint == s.member.Endpoint })
			if s.answered = at >= 0; s.answered {
				s.applied[round], s.revision[round] = answers[at].status.RaftAppliedIndex, answers[at].status.Header.Revision
				endpoints = append(endpoints, s.member.Endpoint)
			}
		}
		if round++; round == rounds {
			break
		}
		if answers, err = c.ask(ctx, endpoints, patience); err != nil {
			return Agreement{}, err
		}
	}
	unhashed := ""
	if data {
		unhashed = c.hash(ctx, all)
	}
	out, err := agree(all, voters)
	out.keep = slices.DeleteFunc(out.keep, func(e string) bool { return !slices.Contains(c.every, e) })
	out.Hashed = data && unhashed == ""
	if out.Unasked == "" {
		out.Unasked = unhashed
	}
	if err != nil {
		return out, c.disagreement(out, err)
	}
	return out, nil
}

// hashPatience bounds what one member's hash may take: it reads its whole database.
const hashPatience = time.Minute

// hash asks the members that answer for a hash at one revision that all of them
// have. It says why not all were compared.
func (c *Cluster) hash(ctx context.Context, all []stand) (why string) {
	at, asked := int64(0), 0
	for _, s := range all {
		if s.answered {
			asked++
			if at == 0 || s.revision[rounds-1] < at {
				at = s.revision[rounds-1]
			}
		}
	}
	if asked < 2 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, hashPatience)
	defer cancel()
	type hashed struct {
		i         int
		hash      uint32
		compacted int64
		err       error
	}
	for try := 0; ; try++ {
		arrived := make(chan hashed, len(all))
		for i, s := range all {
			if !s.answered {
				continue
			}
			go func() {
				resp, err := c.Client.HashKV(ctx, s.member.Endpoint, at)
				if err != nil {
					arrived <- hashed{i: i, err: err}
					return
				}
				arrived <- hashed{i, resp.Hash, resp.CompactRevision, nil}
			}()
		}
		compacted, again := int64(-1), false
		why = ""
		for range asked {
			h := <-arrived
			switch {
			case IsDenied(h.err):
				why = "with etcd's authentication on, to hash the data needs a user with the role root"
			case errors.Is(h.err, rpctypes.ErrCompacted):
				why, again = "the history was compacted meanwhile", true
			case h.err != nil:
				why = all[h.i].member.Label() + " gave no hash: " + oneLine(h.err)
			case compacted >= 0 && compacted != h.compacted:
				why, again = "the history was compacted meanwhile", true
			default:
				compacted = h.compacted
				all[h.i].hash, all[h.i].hashed = h.hash, true
			}
		}
		if why == "" {
			return ""
		}
		for i := range all {
			all[i].hashed = false
		}
		if !again || try == 2 {
			return why
		}
	}
}

// agree finds the majority among the members that answered, of so many voters. It
// is pure. The error is ErrNoMajority.
func agree(all []stand, voters int) (Agreement, error) {
	var out Agreement
	var silent []string
	var seen []stand
	for _, s := range all {
		if s.answered {
			seen = append(seen, s)
		} else {
			silent = append(silent, s.member.Label())
		}
	}
	if len(silent) > 0 {
		out.Unasked = fmt.Sprintf("%d of %d members were compared, without %s", len(seen), len(all), strings.Join(silent, ", "))
	}
	apart := func(a, b stand) bool {
		return a.behind(b) || b.behind(a) || a.hashed && b.hashed && a.hash != b.hash
	}
	for i, a := range seen {
		for _, b := range seen[i+1:] {
			lacks := func(less, more stand) {
				out.Disagree = append(out.Disagree, fmt.Sprintf("%s is at revision %d where %s, no further in the log, has %d",
					less.member.Label(), less.revision[2], more.member.Label(), more.revision[0]))
			}
			switch {
			case a.behind(b):
				lacks(a, b)
			case b.behind(a):
				lacks(b, a)
			case apart(a, b):
				out.Disagree = append(out.Disagree, fmt.Sprintf("%s and %s hold different data at one revision", a.member.Label(), b.member.Label()))
			}
		}
	}
	if len(out.Disagree) == 0 {
		return out, nil
	}
	for _, a := range seen {
		votes, with := 0, []stand{}
		for _, b := range seen {
			if !apart(a, b) && !slices.ContainsFunc(with, func(o stand) bool { return apart(o, b) }) {
				with = append(with, b)
				if !b.member.Learner {
					votes++
				}
			}
		}
		if 2*votes <= voters {
			continue
		}
		for _, s := range seen {
			if slices.ContainsFunc(with, func(o stand) bool { return o.member.ID == s.member.ID }) {
				out.keep = append(out.keep, s.member.Endpoint)
			} else {
				out.Deviants = append(out.Deviants, s.member)
			}
		}
		return out, nil
	}
	return out, ErrNoMajority
}

// disagreement is what a person is told where no majority can be followed.
func (c *Cluster) disagreement(a Agreement, err error) error {
	help := "name every member in etcd.endpoints of " + c.Name + ", and start those that are down: the majority is right"
	if a.Unasked == "" {
		help = "nobody can tell which of them is right: compare what they hold with the standby and with your backups, then rebuild the wrong one from the right one; " +
			"each by itself: " + c.Etcdctl(c.every[0]) + " --consistency=s get --prefix --keys-only /"
	}
	return &remedy.Error{Op: "read " + c.Name, Err: fmt.Errorf("%w: %s", err, strings.Join(a.Disagree, "; ")), Remedy: help, Code: remedy.Refused}
}

// Stay keeps to the members of the majority where some disagree: from here on the
// client asks no other. It reports whether anything has changed by that.
func (c *Cluster) Stay(a Agreement) (changed bool) {
	keep := c.every
	if len(a.Deviants) > 0 {
		keep = a.keep
	}
	c.deviants = a.Deviants
	if slices.Equal(c.config.Endpoints, keep) {
		return false
	}
	c.config.Endpoints = keep
	c.Client.SetEndpoints(keep...)
	return true
}

// Deviants are the members that Dial or Stay has left out, for they disagree with
// the majority.
func (c *Cluster) Deviants() []MemberHealth { return c.deviants }

// avoidDeviants looks at one status of each member, and only where that looks wrong
// asks them for a proof.
func (c *Cluster) avoidDeviants(ctx context.Context, answers []answer) error {
	var all []stand
	for _, a := range answers {
		if a.err == nil {
			all = append(all, stand{applied: [rounds]uint64{a.status.RaftAppliedIndex}, revision: [rounds]int64{a.status.Header.Revision}})
		}
	}
	for _, a := range all {
		if slices.ContainsFunc(all, a.suspicious) {
			agreement, err := c.Compare(ctx, false)
			if err == nil {
				c.Stay(agreement)
			}
			return err
		}
	}
	return nil
}

// oneLine is an error without the line breaks of joined ones.
func oneLine(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return "no answer in time"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

func silence(all []answer) error {
	var problems []error
	for _, a := range all {
		problems = append(problems, fmt.Errorf("%s: %w", a.endpoint, a.err))
	}
	return errors.Join(problems...)
}
