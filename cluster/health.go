package cluster

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
)

// The alarms that an etcd member raises.
const (
	NoSpace = "NOSPACE" // its database has reached the quota: only reads and deletes pass
	Corrupt = "CORRUPT" // its data differs from that of the others
)

// MemberHealth is what one member says of itself at this moment.
type MemberHealth struct {
	Member
	Endpoint string // by which it answered; "" = it did not
	Silent   string // why it did not, where it was asked
	Version  string
	Revision kv.Revision
	Leads    bool
	Alarms   []string
	Size     int64 // of its database, in bytes
	Quota    int64 // 0 = it does not say (before 3.6)

	applied uint64 // entries of the log
}

// Label names the member for people.
func (m MemberHealth) Label() string {
	if m.Name != "" {
		return m.Name
	}
	return strconv.FormatUint(m.ID, 16)
}

// Health is what the members say of themselves.
type Health struct {
	Members []MemberHealth
	// Unlisted is why nobody knows whether these are all members; nil = they are.
	Unlisted error
	// Adrift are alarms that name no member: etcd could not tell which is wrong.
	Adrift []string
}

// Health asks every member at once, and gives those that are silent a moment. Alarms
// are read from the members' status: to list them goes through etcd's log, which
// an etcd before 3.5.5 may not survive (etcd pull request 14429).
func (c *Cluster) Health(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.config.DialTimeout)
	defer cancel()
	answers, err := c.ask(ctx, c.every, patience)
	if err != nil {
		return Health{}, err
	}
	list, listErr := c.list(ctx)
	return join(answers, list, listErr), nil
}

func (c *Cluster) list(ctx context.Context) ([]Member, error) {
	resp, err := c.Client.MemberList(ctx)
	if err != nil {
		return nil, c.explain(err)
	}
	var out []Member
	for _, m := range resp.Members {
		out = append(out, Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner})
	}
	return out, nil
}

// answer is what came from one endpoint.
type answer struct {
	endpoint string
	status   *clientv3.StatusResponse
	err      error
}

// ask asks all endpoints at once, for a dead member is only known by its silence. It
// returns what arrives until others have had their time after the first answer;
// an error where nobody answers.
func (c *Cluster) ask(ctx context.Context, endpoints []string, others time.Duration) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.DialTimeout)
	defer cancel()
	arrived := make(chan answer, len(endpoints))
	for _, endpoint := range endpoints {
		go func() {
			s, err := c.Client.Status(ctx, endpoint)
			arrived <- answer{endpoint, s, err}
		}()
	}
	var all []answer
	heard := false
	for range endpoints {
		a := <-arrived
		if a.err == nil && !heard {
			heard = true
			defer time.AfterFunc(others, cancel).Stop()
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b answer) int {
		return slices.Index(endpoints, a.endpoint) - slices.Index(endpoints, b.endpoint)
	})
	if !heard {
		return nil, c.explain(silence(all))
	}
	return all, nil
}

var alarmOf = regexp.MustCompile(`^(?:memberID:(\d+) +)?alarm:(\w+)`)

// join makes one picture of what the members answered and of their list. It is pure.
func join(answers []answer, list []Member, unlisted error) Health {
	h := Health{Unlisted: unlisted}
	for _, m := range list {
		h.Members = append(h.Members, MemberHealth{Member: m})
	}
	find := func(id uint64) *MemberHealth {
		i := slices.IndexFunc(h.Members, func(m MemberHealth) bool { return m.ID == id })
		if i < 0 {
			h.Members = append(h.Members, MemberHealth{Member: Member{ID: id}})
			i = len(h.Members) - 1
		}
		return &h.Members[i]
	}
	alarms := map[string]map[uint64]bool{NoSpace: {}, Corrupt: {}}
	for _, a := range answers {
		if a.err != nil {
			for i, m := range h.Members {
				if slices.Contains(m.ClientURLs, a.endpoint) {
					h.Members[i].Silent = oneLine(a.err)
				}
			}
			continue
		}
		s := a.status
		m := find(s.Header.MemberId)
		if m.Endpoint != "" {
			continue // two endpoints of one member
		}
		m.Endpoint, m.Version, m.Revision = a.endpoint, s.Version, kv.Revision(s.Header.Revision)
		m.applied, m.Leads, m.Size, m.Quota = s.RaftAppliedIndex, s.Leader == s.Header.MemberId && s.Leader != 0, s.DbSize, s.DbSizeQuota
		m.Learner = m.Learner || s.IsLearner
		for _, text := range s.Errors {
			if found := alarmOf.FindStringSubmatch(text); found != nil && alarms[found[2]] != nil {
				id, _ := strconv.ParseUint(found[1], 10, 64) // 0 where etcd names none
				alarms[found[2]][id] = true
			}
		}
	}
	for _, name := range []string{NoSpace, Corrupt} {
		for id := range alarms[name] {
			if id == 0 {
				h.Adrift = append(h.Adrift, name)
				continue
			}
			m := find(id)
			m.Alarms = append(m.Alarms, name)
		}
	}
	for i := range h.Members {
		if m := &h.Members[i]; m.Endpoint != "" {
			m.Silent = ""
		}
	}
	return h
}

// Suspicious reports whether one reading of each member looks as if they disagree:
// Compare says whether they do.
func (h Health) Suspicious() bool {
	for _, m := range h.Members {
		for _, o := range h.Members {
			if m.Endpoint != "" && o.Endpoint != "" && m.applied >= o.applied && m.Revision < o.Revision {
				return true
			}
		}
	}
	return false
}
