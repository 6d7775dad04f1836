package role

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

const (
	// TripKey holds the Trip that stands on a standby, or stood last.
	TripKey = "/understudy/breaker"
	// ShownDir holds which objects that trip has shown, in numbered chunks.
	ShownDir = "/understudy/shown"
)

// ShownKey is one of these chunks.
func ShownKey(n int) string { return fmt.Sprintf("%s/%06d", ShownDir, n) }

// Trip says why the breaker stopped replication before deletions of the
// primary reached the standby. It stands until somebody has answered it.
type Trip struct {
	SourceClusterID string        `json:"sourceClusterID"`
	Cause           string        `json:"cause,omitempty"` // the objects whose deletion takes the others along; see Causes
	Losses          []Loss        `json:"losses"`          // the largest share first
	From            kv.Revision   `json:"from"`            // the primary's, of the first and the last deletion that was seen
	Through         kv.Revision   `json:"through"`
	Within          time.Duration `json:"within"` // they were seen within, in nanoseconds
	At              time.Time     `json:"at"`
	Resync          bool          `json:"resync,omitempty"` // a resync saw it: all that the standby still has to lose
	Answer          *Answer       `json:"answer,omitempty"`
	// Along are what goes with them and would not be too much by itself: what is
	// deleted at the same time, and what hangs on any of it.
	Along []Loss `json:"along,omitempty"`
	// Resynced are the answers to earlier trips by which a resync kept what the
	// primary had lost.
	Resynced []Answer `json:"resynced,omitempty"`
}

// Loss is how many objects of one resource would be deleted.
type Loss struct {
	Resource string `json:"resource"` // plural.group
	Deleted  int64  `json:"deleted"`
	Of       int64  `json:"of"`      // that were there
	Applied  int64  `json:"applied"` // had reached the standby before it was clear what this would become
	// Keys are the first of those that the standby still has, and Gone the first of
	// those that had reached it; see Trip.Shorten.
	Keys  []string `json:"keys,omitempty"`
	Gone  []string `json:"gone,omitempty"`
	Whole bool     `json:"-"` // all of them go, with their definition
}

// Answer is what an operator decided about a Trip. It is for the objects that were
// shown, by key and UID, whenever they go, and for no others.
type Answer struct {
	Accept  bool        `json:"accept"` // delete on the standby as well; otherwise compare both sides and keep it there
	Through kv.Revision `json:"through"`
	By      string      `json:"by"`
	At      time.Time   `json:"at"`
	Done    bool        `json:"done,omitempty"` // both sides have been compared; the record stands for people
}

// Concerns reports whether the trip still matters to a standby that is complete
// up to the revision given of the primary with that cluster ID.
func (t *Trip) Concerns(sourceClusterID string, complete kv.Revision) bool {
	if t == nil || t.SourceClusterID != sourceClusterID {
		return false
	}
	if t.Answer != nil {
		return !t.Answer.Done && complete < t.Answer.Through
	}
	return complete < t.Through
}

// Stands reports whether the trip stops a standby that is complete up to the
// revision given of the primary with that cluster ID: nobody has answered it.
func (t *Trip) Stands(sourceClusterID string, complete kv.Revision) bool {
	return t.Concerns(sourceClusterID, complete) && t.Answer == nil
}

// Shorten keeps as many keys of each loss as fit into so many bytes, shared
// among the losses: the record is one value in etcd.
func (t *Trip) Shorten(bytes int) {
	var lists []*[]string
	for _, losses := range [][]Loss{t.Losses, t.Along} {
		for i := range losses {
			for _, list := range []*[]string{&losses[i].Keys, &losses[i].Gone} {
				if len(*list) > 0 {
					lists = append(lists, list)
				}
			}
		}
	}
	// The short ones first: what they do not need is the others'.
	slices.SortStableFunc(lists, func(a, b *[]string) int { return len(*a) - len(*b) })
	for i, list := range lists {
		room := bytes / (len(lists) - i)
		keys := *list
		n := 0
		for n < len(keys) && len(keys[n])+4 <= room { // quoted, with a comma
			room -= len(keys[n]) + 4
			bytes -= len(keys[n]) + 4
			n++
		}
		*list = keys[:n:n]
	}
}

// AnswerRemedy is what an operator does about a trip that stands.
const AnswerRemedy = "if they were meant to go: understudy resume --accept-deletes; " +
	"to go on and keep them on the standby: understudy resume --resync"

// ErrNotTripped means that there is nothing to answer.
var ErrNotTripped = errors.New("the breaker has not stopped replication")

// ErrTripChanged means that a trip changed while it was being answered.
var ErrTripChanged = errors.New("the breaker has seen something else meanwhile, or somebody else has answered")

// ReadTrip returns the trip that stands, or stood last; nil = none ever.
func ReadTrip(ctx context.Context, client *clientv3.Client) (*Trip, error) {
	t, _, err := readTrip(ctx, client)
	return t, err
}

func readTrip(ctx context.Context, client *clientv3.Client) (*Trip, int64, error) {
	resp, err := client.Get(ctx, TripKey)
	if err != nil {
		return nil, 0, fmt.Errorf("read whether the breaker has stopped replication: %w", err)
	}
	if len(resp.Kvs) == 0 || len(resp.Kvs[0].Value) == 0 {
		return nil, 0, nil
	}
	var t Trip
	if err := json.Unmarshal(resp.Kvs[0].Value, &t); err != nil {
		return nil, 0, &remedy.Error{Op: "read whether the breaker has stopped replication", Err: fmt.Errorf("%s holds no record: %w", TripKey, err), Code: remedy.Refused,
			Remedy: "understudy forget breaker --apply; the breaker then judges anew what the primary deletes, and an answer that was given has to be given again"}
	}
	return &t, resp.Kvs[0].ModRevision, nil
}

// AnswerTrip answers the trip that the operator saw, unless it has changed since.
func AnswerTrip(ctx context.Context, client *clientv3.Client, seen Trip, a Answer) error {
	stands, revision, err := readTrip(ctx, client)
	if err != nil {
		return err
	}
	if stands == nil || !stands.At.Equal(seen.At) || stands.Answer != nil {
		return ErrTripChanged
	}
	stands.Answer = &a
	raw, err := json.Marshal(stands)
	if err != nil {
		return err
	}
	resp, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(TripKey), "=", revision)).
		Then(clientv3.OpPut(TripKey, string(raw))).Commit()
	if err != nil {
		return fmt.Errorf("answer the breaker: %w", err)
	}
	if !resp.Succeeded {
		return ErrTripChanged
	}
	return nil
}

// Kept says, for people, what a resync keeps on the standby that the primary no
// longer has, or is deleting; "" = nothing that is known of.
func (t *Trip) Kept() string {
	answers := t.Resyncs()
	if len(answers) == 0 {
		return ""
	}
	last := answers[len(answers)-1]
	return fmt.Sprintf("%s answered a mass deletion with resume --resync at %s: the standby keeps what the primary lost then", last.By, last.At.Format(time.RFC3339))
}

// Resyncs are all answers so far by which a resync kept what the primary had lost.
func (t *Trip) Resyncs() []Answer {
	if t == nil {
		return nil
	}
	answers := slices.Clone(t.Resynced)
	if t.Answer != nil && !t.Answer.Accept {
		answers = append(answers, *t.Answer)
	}
	return answers
}

// Causes are the objects whose deletion takes the others along, each by itself.
func (t Trip) Causes() []string {
	if t.Cause == "" {
		return nil
	}
	return strings.Split(t.Cause, causesApart)
}

// JoinCauses is the Cause of several objects. No name in Kubernetes has a comma.
func JoinCauses(causes []string) string { return strings.Join(causes, causesApart) }

const causesApart = ", "

// causesShown are how many of them people are told.
const causesShown = 3

// cause says what is being deleted: "Namespace a, Namespace b are being deleted".
func (t Trip) cause() (says, along string) {
	causes := t.Causes()
	switch n := len(causes); {
	case n == 1:
		return causes[0] + " is being deleted", "and with it"
	case n <= causesShown:
		return JoinCauses(causes) + " are being deleted", "and with them"
	default:
		return fmt.Sprintf("%s and %d more are being deleted", JoinCauses(causes[:causesShown]), n-causesShown), "and with them"
	}
}

// What lists the losses: "1,000 of 1,000 machines.cluster.x-k8s.io".
func (t Trip) What() string { return listed(t.Losses) }

func listed(all []Loss) string {
	var losses []string
	for _, l := range all {
		losses = append(losses, fmt.Sprintf("%s of %s %s", grouped(l.Deleted), grouped(l.Of), l.Resource))
	}
	return strings.Join(losses, ", ")
}

// String is for people: "1,000 of 1,000 machines.cluster.x-k8s.io were deleted
// within 0.4 s at the primary's revisions 5011 to 6010".
func (t Trip) String() string {
	all, applied := t.What(), int64(0)
	for _, l := range t.Losses {
		applied += l.Applied
	}
	at := fmt.Sprintf("revisions %d to %d", t.From, t.Through)
	if t.From == t.Through {
		at = fmt.Sprintf("revision %d", t.From)
	}
	switch {
	case t.Cause != "":
		says, along := t.cause()
		all = fmt.Sprintf("%s since the primary's %s, %s %s", says, at, along, all)
		if applied == 0 {
			return all + t.along()
		}
	case t.Within == 0 && t.From != t.Through:
		all = fmt.Sprintf("%s are gone between the primary's %s", all, at)
	case t.From == t.Through:
		all = fmt.Sprintf("%s were deleted in one transaction, the primary's %s", all, at)
	default:
		all = fmt.Sprintf("%s were deleted within %.1f s at the primary's %s", all, t.Within.Seconds(), at)
	}
	all += t.along()
	switch applied {
	case 0:
		all += "; none of it has reached the standby"
	case 1:
		all += "; the first of them has reached the standby"
	default:
		all += fmt.Sprintf("; the first %s of them have reached the standby", grouped(applied))
	}
	return all
}

// alongShown is of how many resources people are told in one line.
const alongShown = 4

// along says what else goes.
func (t Trip) along() string {
	if len(t.Along) == 0 {
		return ""
	}
	shown := listed(t.Along[:min(len(t.Along), alongShown)])
	if more := len(t.Along) - alongShown; more > 0 {
		shown += fmt.Sprintf(" and objects of %d other resources", more)
	}
	return "; along with that " + shown
}

// grouped writes a number with commas between its thousands.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
