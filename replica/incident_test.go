package replica

import (
	"cmp"
	"log/slog"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

func driftView(t *testing.T) *scope.View {
	t.Helper()
	s, err := scope.New(scope.Config{})
	if err != nil {
		t.Fatal(err)
	}
	locals, err := scope.NewLocals(scope.DefaultLocals(scope.DefaultProfile))
	if err != nil {
		t.Fatal(err)
	}
	return &scope.View{Scope: s, Recoder: registry.NewRecoder(nil, nil), Locals: locals}
}

func TestIncident(t *testing.T) {
	view := driftView(t)
	const (
		key     = "/registry/deployments/prod/web"
		token   = "/registry/secrets/prod/token"
		before  = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","managedFields":[{"manager":"argo","time":"2026-03-01T12:00:00Z"}]},"spec":{"replicas":1}}`
		status  = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","managedFields":[{"manager":"argo","time":"2026-03-01T12:00:00Z"},{"manager":"kcm","subresource":"status","time":"2026-03-01T13:00:00Z"}]},"spec":{"replicas":1},"status":{"replicas":1}}`
		scaled  = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","managedFields":[{"manager":"kubectl","time":"2026-03-01T11:00:00Z"},{"manager":"argo","time":"2026-03-01T12:00:00Z"}]},"spec":{"replicas":2}}`
		past    = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","managedFields":[{"manager":"argo","time":"2026-03-01T12:00:00Z"}]},"spec":{"replicas":2}}`
		marked  = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","deletionTimestamp":"2026-03-01T12:00:00Z"},"spec":{"replicas":1}}`
		owned   = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","ownerReferences":[{"kind":"Set","name":"a"},{"kind":"Set","name":"b"}]}}`
		outside = `{"apiVersion":"v1","kind":"Secret","type":"kubernetes.io/service-account-token","metadata":{"name":"token"}}`
	)
	deleted := Write{Key: key, Deleted: true}
	put := func(value string, created bool) Write { return Write{Key: key, Created: created, value: []byte(value)} }
	for name, tc := range map[string]struct {
		write Write
		was   string // "" = it was not there
		gone  bool   // what was is compacted
		own   bool
		what  Drifted
		by    string
		mark  bool
	}{
		"deleted":                                {write: deleted, was: before, what: Deleted, by: "unknown"},
		"deleted, with owners":                   {write: deleted, was: owned, what: Deleted, by: "garbage collector (owner Set a, Set b)"},
		"deleted, nobody knows what":             {write: deleted, gone: true, what: Deleted, by: "unknown"},
		"deleted, out of scope by its type":      {write: Write{Key: token, Deleted: true}, was: outside},
		"deleted, its own":                       {write: deleted, was: before, own: true},
		"deleted, and there was nothing":         {write: deleted},
		"marked for deletion":                    {write: put(marked, false), was: before, what: Deleted, by: "unknown", mark: true},
		"changed":                                {write: put(scaled, false), was: before, what: Changed, by: "kubectl"},
		"changed past the API server":            {write: put(past, false), was: before, what: Changed, by: "unknown"},
		"changed, nobody knows from what":        {write: put(scaled, false), gone: true, what: Changed, by: "argo"},
		"changed from what cannot be read":       {write: put(scaled, false), was: "{", what: Changed, by: "argo"},
		"changed to what cannot be read":         {write: put("{", false), was: before, what: Changed, by: "unknown"},
		"written with the same bytes":            {write: put(before, false), was: before},
		"local fields only":                      {write: put(status, false), was: before},
		"changed, its own":                       {write: put(scaled, false), was: before, own: true},
		"created":                                {write: put(scaled, true), own: true, what: Created, by: "argo"},
		"created where the primary has the same": {write: put(scaled, true), what: Changed, by: "argo"}, // to be compared
	} {
		t.Run(name, func(t *testing.T) {
			got := incident(view, tc.write, []byte(tc.was), tc.was != "", !tc.gone, tc.own)
			if got.What != tc.what || got.By != tc.by || got.Marked != tc.mark {
				t.Errorf("got %+v, want %q by %q, marked %v", got, tc.what, tc.by, tc.mark)
			}
			if got.What != "" && (got.Kind != "Deployment" || got.Resource != "deployments.apps" || got.Namespace != "prod" || got.Object != "web") {
				t.Errorf("named %+v", got)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	view := driftView(t)
	const (
		key    = "/registry/configmaps/prod/a"
		plain  = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","uid":"u"}}`
		other  = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","uid":"v"}}`
		marked = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","uid":"u","deletionTimestamp":"2026-03-01T12:00:00Z"}}`
	)
	for name, tc := range map[string]struct {
		what          Drifted
		primary, have string // "" = it is not there
		at            kv.Revision
		dying         bool
		want          verdict
	}{
		"deleted":                                 {what: Deleted, primary: plain, at: 10, want: repair},
		"deleted on both sides":                   {what: Deleted, want: nothing},
		"written by the primary since":            {what: Deleted, primary: plain, at: 11, want: overtaken},
		"the primary follows":                     {what: Deleted, primary: plain, at: 10, dying: true, want: waits},
		"back already":                            {what: Deleted, primary: plain, have: plain, at: 10, want: overtaken},
		"marked":                                  {what: Deleted, primary: plain, have: marked, at: 10, want: repair},
		"marked, the primary follows":             {what: Deleted, primary: plain, have: marked, at: 10, dying: true, want: waits},
		"marked on both sides":                    {what: Deleted, primary: marked, have: marked, at: 10, want: overtaken},
		"changed":                                 {what: Changed, primary: plain, have: other, at: 10, want: repair},
		"changed, and back":                       {what: Changed, primary: plain, have: plain, at: 10, want: overtaken},
		"changed, and deleted":                    {what: Changed, primary: plain, at: 10, want: overtaken},
		"changed, and the primary has deleted it": {what: Changed, have: other, want: overtaken},
		"changed to rubbish":                      {what: Changed, primary: plain, have: "{", at: 10, want: repair},
	} {
		t.Run(name, func(t *testing.T) {
			s := scene{dying: tc.dying}
			if tc.primary != "" {
				s.primary = kv.Pair{Key: key, Value: []byte(tc.primary), ModRevision: tc.at}
				s.want, s.wantErr = view.Want(key, s.primary.Value)
			}
			if tc.have != "" {
				s.have = kv.Pair{Key: key, Value: []byte(tc.have), ModRevision: 99}
			}
			if got := s.verdict(view, tc.what, 10); got != tc.want {
				t.Errorf("verdict %d, want %d", got, tc.want)
			}
		})
	}
}

func TestDying(t *testing.T) {
	s := driftView(t).Scope
	const key = "/registry/configmaps/prod/a"
	cluster := registry.Owner{APIVersion: "cluster.x-k8s.io/v1beta1", Kind: "Cluster", Name: "c", UID: "u"}
	node := registry.Owner{APIVersion: "v1", Kind: "Namespace", Name: "n", UID: "w"}
	const place, crd = "/registry/cluster.x-k8s.io/clusters/prod/c", "/registry/apiextensions.k8s.io/customresourcedefinitions/clusters.cluster.x-k8s.io"
	known := map[string]registry.Meta{crd: {Kind: "CustomResourceDefinition"}}
	with := func(more map[string]registry.Meta) map[string]registry.Meta {
		more[crd] = known[crd]
		return more
	}
	for name, tc := range map[string]struct {
		key     string // "" = key
		object  registry.Meta
		primary map[string]registry.Meta
		want    bool
	}{
		"no owners":                {primary: known},
		"its owner is there":       {object: registry.Meta{Owners: []registry.Owner{cluster}}, primary: with(map[string]registry.Meta{place: {Kind: "Cluster", UID: "u"}})},
		"its owner is gone":        {object: registry.Meta{Owners: []registry.Owner{cluster}}, primary: known, want: true},
		"its owner is another one": {object: registry.Meta{Owners: []registry.Owner{cluster}}, primary: with(map[string]registry.Meta{place: {Kind: "Cluster", UID: "v"}}), want: true},
		"its owner cannot be read": {object: registry.Meta{Owners: []registry.Owner{cluster}}, primary: with(map[string]registry.Meta{place: {}})},
		"the guess is not proven":  {object: registry.Meta{Owners: []registry.Owner{cluster}}, primary: nil},
		"one of two is there":      {object: registry.Meta{Owners: []registry.Owner{cluster, node}}, primary: with(map[string]registry.Meta{"/registry/namespaces/n": {Kind: "Namespace", UID: "w"}})},
		"both are gone":            {object: registry.Meta{Owners: []registry.Owner{cluster, node}}, primary: known, want: true},
		"it is being deleted":      {object: registry.Meta{Deleting: true}, want: true},
		"its namespace is":         {primary: map[string]registry.Meta{"/registry/namespaces/prod": {Deleting: true}}, want: true},
		"its namespace is there":   {primary: map[string]registry.Meta{"/registry/namespaces/prod": {}}},
		"its owner goes in the foreground": {object: registry.Meta{Owners: []registry.Owner{cluster}},
			primary: with(map[string]registry.Meta{place: {Kind: "Cluster", UID: "u", Deleting: true, Finalizers: []string{"foregroundDeletion"}}}), want: true},
		"its owner goes in the background": {object: registry.Meta{Owners: []registry.Owner{cluster}},
			primary: with(map[string]registry.Meta{place: {Kind: "Cluster", UID: "u", Deleting: true, Finalizers: []string{"cluster.cluster.x-k8s.io"}}})},
		"its definition is being deleted": {key: place, primary: map[string]registry.Meta{crd: {Deleting: true}}, want: true},
		"its definition is there":         {key: place, primary: known},
		"an owner of no kind and name":    {object: registry.Meta{Owners: []registry.Owner{{UID: "u"}}}, primary: known},
	} {
		if got := dying(s, cmp.Or(tc.key, key), tc.object, tc.primary); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The ledger keeps a bounded number of keys, and says that there were more.
func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(Guard{}, slog.New(slog.DiscardHandler))
	now := time.Now()
	var found []finding
	for i := range maxWounds + 7 {
		found = append(found, finding{Incident: Incident{What: Deleted, Key: string(rune('a'+i%26)) + time.Duration(i).String()}, revision: kv.Revision(i + 1)})
	}
	l.note(found, 1<<40, now)
	d := l.report()
	if d.Pending != maxWounds || d.Unnoted != 7 || len(d.Recent) != recentDrift {
		t.Errorf("%d pending, %d unnoted, %d recent", d.Pending, d.Unnoted, len(d.Recent))
	}
	if at := l.unmended(500); at != 0 {
		t.Errorf("a successor would begin after %d", at)
	}
}
