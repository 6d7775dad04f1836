package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
)

// Sides are the two clusters.
type Sides struct {
	Primary, Standby *clientv3.Client
	Served           Served // the standby's API server; nil = it is not asked
}

// Verdict is the outcome of a comparison.
type Verdict string

// The verdicts. Unknown is never as good as Consistent.
const (
	Consistent   Verdict = "consistent"
	Inconsistent Verdict = "inconsistent"
	Unknown      Verdict = "unknown"
)

// Kind says how a key differs between the sides.
type Kind string

// The kinds of differences. The empty Kind is none.
const (
	Missed      Kind = "missed"      // the primary has it, the standby does not
	Surplus     Kind = "surplus"     // the standby has it, the primary does not
	Differing   Kind = "differing"   // both have it, with different objects
	Undecodable Kind = "undecodable" // one side's value cannot be decrypted or is no whole object
	// Conflict: the standby has an object of its own that stays, until somebody
	// decides; see scope.View.Conflicts.
	Conflict Kind = "conflict"
)

// OtherVersion is no difference: the sides store the object in two versions of the
// API, and nobody here can compare what they say.
const OtherVersion Kind = "other version"

// Kinds are all kinds of differences, the worst last.
var Kinds = []Kind{Missed, Surplus, Differing, Conflict, Undecodable}

// allKinds are all that a comparison may call a key.
var allKinds = append([]Kind{OtherVersion}, Kinds...)

// Keys are keys of one kind: how many, and the first of them in key order.
type Keys struct {
	Count int64    `json:"count"`
	Keys  []string `json:"keys"` // cut off at the limit that was asked for; never nil
}

// Resource counts the keys of one resource on the primary.
type Resource struct {
	Replicated        int64 `json:"replicated"`
	Excluded          int64 `json:"excluded"`
	OwnersLeftOut     int64 `json:"ownersLeftOut"`     // of the excluded: because all their owners are
	ReferencesDropped int64 `json:"referencesDropped"` // of the replicated: to owners that are excluded
}

func (r *Resource) add(other Resource) {
	r.Replicated += other.Replicated
	r.Excluded += other.Excluded
	r.OwnersLeftOut += other.OwnersLeftOut
	r.ReferencesDropped += other.ReferencesDropped
}

// Report is the outcome of a full comparison.
type Report struct {
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"` // why the verdict is Unknown
	// Hint is what to do about an Unknown verdict; may be empty.
	Hint string `json:"hint,omitempty"`

	SourceRevision  kv.Revision `json:"sourceRevision"`  // the primary was read at it
	StandbyRevision kv.Revision `json:"standbyRevision"` // the standby was read at it
	Compared        int64       `json:"compared"`        // keys in scope, on either side

	Missed      Keys `json:"missed"`
	Surplus     Keys `json:"surplus"`
	Differing   Keys `json:"differing"`
	Undecodable Keys `json:"undecodable"`
	Conflict    Keys `json:"conflict"`
	// OtherVersion are objects that could not be compared. They are no difference;
	// where nothing else differs the Verdict is Unknown because of them.
	OtherVersion Keys `json:"otherVersion"`
	// ByResource counts them all, the unlisted as well, by resource and kind; nil in
	// the report of an Account.
	ByResource map[string]map[Kind]int64 `json:"byResource,omitempty"`
	// Why tells for the listed undecodable keys what is wrong with them, and for
	// those of another version which versions they are.
	Why map[string]string `json:"why,omitempty"`
	// Fields tells for the listed differing keys in which fields; see Explain.
	Fields map[string][]string `json:"fields,omitempty"`

	// Opaque counts the keys that are encrypted and equal as bytes, while no
	// configuration says whether the standby can read them.
	Opaque int64 `json:"opaque"`
	// Pending counts keys that an Account has yet to compare.
	Pending int64 `json:"pending,omitempty"`
	// Notes are circumstances that do not change the verdict.
	Notes []string `json:"notes,omitempty"`

	Started time.Time           `json:"started"`
	Took    time.Duration       `json:"took"` // nanoseconds
	Scope   map[string]Resource `json:"scope,omitempty"`
	LeftOut scope.LeftOut       `json:"leftOut"` // of value, on the primary; as far as the keys were read
}

// Of returns the keys of one kind.
func (r *Report) Of(k Kind) *Keys {
	switch k {
	case Missed:
		return &r.Missed
	case Surplus:
		return &r.Surplus
	case Differing:
		return &r.Differing
	case Undecodable:
		return &r.Undecodable
	case Conflict:
		return &r.Conflict
	case OtherVersion:
		return &r.OtherVersion
	}
	panic(fmt.Sprintf("verify: no such kind of difference: %q", k))
}

// Restrict gives the report of some kinds and keys alone, and those of the keys that
// it does not have; none stands for all kinds, or all keys. Its counts are of what it lists.
func (r Report) Restrict(kinds []Kind, keys []string) (restricted Report, equal []string) {
	left := map[string]bool{}
	for _, key := range keys {
		left[key] = true
	}
	for _, kind := range allKinds {
		list := Keys{Keys: []string{}}
		for _, key := range r.Of(kind).Keys {
			if len(keys) == 0 || left[key] {
				delete(left, key)
				if len(kinds) == 0 || slices.Contains(kinds, kind) {
					list.Keys = append(list.Keys, key)
				}
			}
		}
		list.Count = int64(len(list.Keys))
		*r.Of(kind) = list
	}
	return r, slices.Sorted(maps.Keys(left))
}

// Differences is how many keys differ, of all kinds.
func (r *Report) Differences() int64 {
	return r.Missed.Count + r.Surplus.Count + r.Differing.Count + r.Undecodable.Count + r.Conflict.Count
}

func newReport(started time.Time) Report {
	none := func() Keys { return Keys{Keys: []string{}} }
	return Report{Verdict: Unknown, Missed: none(), Surplus: none(), Differing: none(), Undecodable: none(), Conflict: none(), OtherVersion: none(), Started: started}
}

func unknown(started time.Time, reason, hint string) Report {
	r := newReport(started)
	r.Reason, r.Hint = reason, hint
	r.Took = time.Since(started)
	return r
}

// conclude sets the verdict of a comparison that went through.
func (r *Report) conclude() {
	r.Verdict = Consistent
	if r.Compared == 0 {
		r.Verdict, r.Reason, r.Hint = Unknown, "no key in scope is on either side", "is sync.prefix the API servers' --etcd-prefix with a slash at the end? understudy preflight"
	}
	if r.doubt(); r.Differences() > 0 {
		r.Verdict, r.Reason = Inconsistent, ""
	}
	r.Took = time.Since(r.Started)
}

// doubt makes the verdict Unknown where objects could not be compared.
func (r *Report) doubt() {
	if n := r.OtherVersion.Count; n > 0 {
		r.Verdict = Unknown
		r.Reason = fmt.Sprintf("%d objects are stored in another version of the API on the standby, and cannot be compared", n)
		if n == 1 {
			r.Reason = "one object is stored in another version of the API on the standby, and cannot be compared"
		}
	}
}

// Complete reports whether the comparison went through, whatever it found.
func (r *Report) Complete() bool { return r.Verdict != Unknown || r.OtherVersion.Count > 0 }

// add takes one difference in; keys come in ascending order.
func (r *Report) add(key string, kind Kind, why error, limit int) {
	text := ""
	if why != nil {
		text = reason(key, why)
	}
	r.addText(key, kind, text, limit)
}

func (r *Report) addText(key string, kind Kind, why string, limit int) {
	list := r.Of(kind)
	list.Count++
	if limit > 0 && len(list.Keys) >= limit {
		return
	}
	list.Keys = append(list.Keys, key)
	if why != "" {
		if r.Why == nil {
			r.Why = map[string]string{}
		}
		r.Why[key] = why
	}
}

// count takes it in under its resource.
func (r *Report) count(resource string, kind Kind) {
	if r.ByResource == nil {
		r.ByResource = map[string]map[Kind]int64{}
	}
	if r.ByResource[resource] == nil {
		r.ByResource[resource] = map[Kind]int64{}
	}
	r.ByResource[resource][kind]++
}

// reason is what is wrong with a key's value, without the key itself.
func reason(key string, why error) string { return strings.TrimPrefix(why.Error(), key+" ") }
