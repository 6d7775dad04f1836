package twin

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// Survey counts what stands where on the two sides, and names the twins. Fill it
// with Judge and Add, in key order, then call Close.
type Survey struct {
	view       *scope.View
	rows       map[rowKey]*Row
	twins      []Twin
	blind      []Twin               // same name, other bytes, and nobody can read whose they are
	namespaces map[string][2]string // UIDs on the two sides
	releases   map[string]int64     // Helm releases that only the primary has, by namespace
	reasons    map[string]reason    // of what is left out, by directory
}

// Row is what the two sides have of one resource in one namespace, as far as one
// rule decides about it.
type Row struct {
	Namespace string `json:"namespace"` // "" = cluster-scoped
	Resource  string `json:"resource"`
	TakesPart bool   `json:"takesPart"`
	Rule      string `json:"rule,omitempty"` // that leaves it out
	Why       string `json:"why,omitempty"`
	Primary   int64  `json:"primary"` // objects there
	Standby   int64  `json:"standby"`
	// OnlyPrimary counts those of Primary that the standby does not have.
	OnlyPrimary int64 `json:"onlyPrimary,omitempty"`
	Twins       int64 `json:"twins,omitempty"`     // each side has one of its own
	Conflicts   int64 `json:"conflicts,omitempty"` // of those: stay until somebody decides
	// Valued counts those of Primary that have value and are left out: custom resources and Secrets, Pods that no
	// controller made, bootstrap roles that somebody has changed. Names are of the first of them.
	Valued int64    `json:"valued,omitempty"`
	Names  []string `json:"names,omitempty"`
}

type rowKey struct {
	Place
	in   bool
	rule string
}

// Twin is an object of the standby's own under the name of one of the primary's.
type Twin struct {
	Key       string    `json:"key"`
	Namespace string    `json:"namespace,omitempty"`
	Resource  string    `json:"resource"`
	Name      string    `json:"name"`
	Differs   bool      `json:"differs"`            // more than who made it and what became of it
	Conflict  bool      `json:"conflict,omitempty"` // it is never replaced without a rule
	Workload  *Workload `json:"workload,omitempty"` // of the standby, where it runs
}

// Judged is what Judge says of a key.
type Judged struct {
	k            registry.Key
	parsed       bool
	want, have   scope.Object
	unread       bool
	worth        scope.Worth // of what takes no part
	twin, differ bool
	blind        bool
	conflict     bool
	workload     *Workload
}

// NewSurvey begins one.
func NewSurvey(view *scope.View) *Survey {
	return &Survey{view: view, rows: map[rowKey]*Row{}, namespaces: map[string][2]string{}, releases: map[string]int64{}, reasons: map[string]reason{}}
}

// Judge looks at one key; a side that lacks it is nil. Several goroutines may call it.
func (s *Survey) Judge(p, q *kv.Pair) (j Judged) {
	key := keyOf(p, q)
	j.k, j.parsed = s.view.Scope.Parse(key)
	var err1, err2 error
	if p != nil {
		j.want, err1 = s.view.InPrimary(key, p.Value)
	}
	if q != nil {
		j.have, err2 = s.view.InStandby(key, q.Value)
	}
	j.unread = err1 != nil || err2 != nil
	if p != nil && !j.want.In {
		j.worth = s.view.LeftOut(key, p.Value)
	}
	if p == nil || q == nil || !j.want.In || !j.parsed {
		return j
	}
	if j.unread || j.want.Opaque || j.have.Opaque {
		j.blind = !bytes.Equal(p.Value, q.Value) && !s.view.Scope.Replaces(key, j.want.Meta)
		return j
	}
	if j.twin = s.view.Twin(key, j.want, j.have); !j.twin {
		return j
	}
	j.conflict = s.view.Conflicts(key, j.want, j.have)
	j.differ = differs(j.want, j.have)
	if w, runs := WorkloadOf(j.k, j.have.Plain); runs {
		j.workload = &w
	}
	return j
}

// keyOf is the key of whichever is there.
func keyOf(p, q *kv.Pair) string {
	if p != nil {
		return p.Key
	}
	return q.Key
}

// differs compares two objects without what tells who made them, and without
// their status. Of the primary's held ones the original counts.
func differs(primary, standby scope.Object) bool {
	plain := primary.Plain
	if primary.Original != nil {
		plain = primary.Original
	}
	a, err1 := registry.ReadFields(plain)
	b, err2 := registry.ReadFields(standby.Plain)
	if err1 != nil || err2 != nil {
		return !bytes.Equal(plain, standby.Plain)
	}
	for _, f := range []registry.Fields{a, b} {
		delete(f, "metadata")
		delete(f, "status")
	}
	return !equal(map[string]any(a), map[string]any(b))
}

// Add takes in what was judged of a key.
func (s *Survey) Add(p, q *kv.Pair, j Judged) {
	key := keyOf(p, q)
	place := Place{"", "(raw)"}
	if j.parsed {
		place = Place{inside(j.k), j.k.GroupResource()}
	}
	if j.parsed && j.k.Group == "" && j.k.Resource == "namespaces" {
		s.namespaces[j.k.Name] = [2]string{j.want.Meta.UID, j.have.Meta.UID}
	}
	in := p != nil && j.want.In || p == nil && j.have.In
	at := rowKey{Place: place, in: in}
	why := ""
	if !in {
		r := s.reason(key, j)
		at.rule, why = r.rule, r.why
	}
	row := s.rows[at]
	if row == nil {
		row = &Row{Namespace: place.Namespace, Resource: place.Resource, TakesPart: in, Rule: at.rule, Why: why}
		s.rows[at] = row
	}
	if p != nil {
		row.Primary++
	}
	if q != nil {
		row.Standby++
	}
	switch {
	case !in && p != nil && (valued(place.Resource) || j.worth != ""):
		if row.Valued++; len(row.Names) < maxNames {
			row.Names = append(row.Names, j.k.Name)
		}
	case in && q == nil:
		row.OnlyPrimary++
		if j.want.Meta.Type == helmRelease {
			s.releases[place.Namespace]++
		}
	}
	if !j.twin && !j.blind {
		return
	}
	t := Twin{Key: key, Namespace: place.Namespace, Resource: place.Resource, Name: j.k.Name, Differs: j.differ || j.blind, Conflict: j.conflict, Workload: j.workload}
	if j.blind {
		s.blind = append(s.blind, t)
		return
	}
	s.add(row, t)
}

func (s *Survey) add(row *Row, t Twin) {
	s.twins = append(s.twins, t)
	row.Twins++
	if t.Conflict {
		row.Conflicts++
	}
}

// maxNames bounds what a row names.
const maxNames = 20

// helmRelease is the type of the Secrets in which Helm keeps what it installed.
const helmRelease = "helm.sh/release.v1"

// inside is the namespace that an object counts for: a Namespace is in itself.
func inside(k registry.Key) string {
	if k.Group == "" && k.Resource == "namespaces" {
		return k.Name
	}
	return k.Namespace
}

// valued: what people have made, and nothing makes again.
func valued(resource string) bool { return resource == "secrets" || !registry.BuiltIn(resource) }

// Close decides about what nobody can read: in a namespace of the standby's own
// it is the standby's own.
func (s *Survey) Close() {
	for _, t := range s.blind {
		uids := s.namespaces[t.Namespace]
		if t.Namespace != "" && (uids[0] == "" || uids[0] != uids[1]) {
			s.add(s.rows[rowKey{Place: Place{t.Namespace, t.Resource}, in: true}], t)
		}
	}
	s.blind = nil
	slices.SortFunc(s.twins, func(a, b Twin) int { return cmp.Compare(a.Key, b.Key) })
}

// Rows are all rows, by namespace and resource; cluster-scoped ones first.
func (s *Survey) Rows() []Row {
	rows := make([]Row, 0, len(s.rows))
	for _, r := range s.rows {
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(Place{a.Namespace, a.Resource}.compare(Place{b.Namespace, b.Resource}), cmp.Compare(a.Rule, b.Rule))
	})
	return rows
}

// Twins are all twins in key order.
func (s *Survey) Twins() []Twin { return s.twins }

type reason struct{ rule, why string }

// reason says which rule leaves a key out. Names seldom matter, so what was said
// of one key of a directory is said of all that the same verdict came to.
func (s *Survey) reason(key string, j Judged) reason {
	if j.want.Orphaned || j.have.Orphaned {
		return reason{"ownership", "every owner is left out, or the claim of a volume"}
	}
	e := s.view.Scope.Explain(key)
	return reason{e.Rule, e.Why}
}

// equal compares what JSON has.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	}
	return a == b
}
