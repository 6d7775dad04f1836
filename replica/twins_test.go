package replica_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// load writes the objects of a file, see fixture.Stored.
func load(t *testing.T, client *clientv3.Client, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := fixture.Stored(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		put(t, client, p.Key, string(p.Value))
	}
}

// everything is all that an etcd has, our own keys as well, with its revision.
func everything(t *testing.T, client *clientv3.Client) map[string]string {
	t.Helper()
	resp, err := client.Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range resp.Kvs {
		all[string(p.Key)] = fmt.Sprintf("%d %s", p.ModRevision, p.Value)
	}
	return all
}

// stored is an object as JSON, which every kind may be stored as.
func stored(kind, namespace, name, uid, more string) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":%q,"metadata":{"name":%q,"namespace":%q,"uid":%q}%s}`, kind, name, namespace, uid, more)
}

// rules makes the pair's scope anew.
func (p *pair) rules(t *testing.T, c scope.Config) {
	t.Helper()
	s, err := scope.New(c)
	if err != nil {
		t.Fatal(err)
	}
	view := *p.config.View
	view.Scope = s
	p.config.View = &view
}

const (
	web    = "/registry/deployments/shop/web"
	shop   = "/registry/namespaces/shop"
	theirs = "00000002-0000-4000-8000-000000000001"
	ours   = "00000001-0000-4000-8000-000000000001"
)

func refusedTwins(t *testing.T, p *pair) string {
	t.Helper()
	before := everything(t, p.standby.Client())
	_, err := p.new(t).Once(t.Context())
	if !errors.Is(err, replica.ErrTwins) || remedy.CodeOf(err) != remedy.Refused {
		t.Fatalf("copy over the standby's own: %v, want ErrTwins and exit %d", err, remedy.Refused)
	}
	if after := everything(t, p.standby.Client()); !maps.Equal(before, after) {
		t.Errorf("a refused copy has written: %d keys became %d: %v", len(before), len(after), slices.Sorted(maps.Keys(after)))
	}
	return err.Error()
}

// S: a first copy never replaces what the standby has of its own; nothing at all
// is written, and what runs is named first.
func TestFirstCopyOverTwinsIsRefused(t *testing.T) {
	p := newPair(t)
	load(t, p.primary.Client(), "testdata/platform-twins-primary.yaml")
	load(t, p.standby.Client(), "testdata/platform-twins-standby.yaml")
	said := refusedTwins(t, p)
	for _, want := range []string{"DaemonSet calico-system/calico-node (3 Pods, CNI)", "Deployment d8-system/deckhouse (1 of 1 ready, platform)", "d8-system: 1 deployments.apps"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
	if first, second := strings.Index(said, "running there"), strings.Index(said, "in all"); first < 0 || second < first {
		t.Errorf("what runs does not come first:\n%s", said)
	}
}

// One twin behind more than a copy keeps before it writes: it writes nothing all the same.
func TestLargeCopyOverATwinIsRefused(t *testing.T) {
	p := newPair(t)
	padding := strings.Repeat("x", 60_000)
	for i := range 200 { // 12 MB
		key := fmt.Sprintf("/registry/configmaps/prod/large-%03d", i)
		put(t, p.primary.Client(), key, fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"l","uid":"0000000a-0000-4000-8000-%012d"},"data":{"x":%q}}`, i, padding))
	}
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, ""))
	put(t, p.standby.Client(), web, stored("Deployment", "shop", "web", theirs, ""))
	refusedTwins(t, p)

	// The same where it is a standby already, so that only the copy itself looks.
	p.rules(t, scope.Config{Exclude: []scope.Rule{{Resources: []string{"configmaps", "deployments.apps"}}}})
	p.once(t)
	p.rules(t, scope.Config{})
	refusedTwins(t, p)
}

// What a rule gives up is replaced, what one leaves out stays.
func TestRulesDecideAboutTwins(t *testing.T) {
	p := newPair(t)
	const other = "/registry/deployments/shop/other"
	for i, key := range []string{web, other} {
		name := key[len("/registry/deployments/shop/"):]
		put(t, p.primary.Client(), key, stored("Deployment", "shop", name, fmt.Sprintf("%s%d", ours[:35], i), ""))
		put(t, p.standby.Client(), key, stored("Deployment", "shop", name, fmt.Sprintf("%s%d", theirs[:35], i), ""))
	}
	kept, _ := get(t, p.standby.Client(), other)
	p.rules(t, scope.Config{Exclude: []scope.Rule{{Names: []string{"other"}}}, Replace: []scope.Rule{{Names: []string{"web"}}}})
	p.once(t)
	if now, _ := get(t, p.standby.Client(), web); !strings.Contains(now, ours[:35]+"0") {
		t.Errorf("what sync.replace names was not replaced: %s", now)
	}
	if now, _ := get(t, p.standby.Client(), other); now != kept {
		t.Errorf("what sync.exclude names was replaced: %s", now)
	}
	// The scope grows by what the standby has of its own.
	p.rules(t, scope.Config{})
	refusedTwins(t, p)
}

// What the primary has made anew under another UID while nobody replicated came
// from it both times.
func TestObjectsMadeAnewAreNoTwins(t *testing.T) {
	p := newPair(t)
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, ""))
	p.once(t)
	for name, change := range map[string]func(){
		"resync":        func() { forget(t, p.primary.Client()) },
		"another scope": func() { p.rules(t, scope.Config{Exclude: []scope.Rule{{Names: []string{"nothing"}}}}) },
	} {
		uid := map[string]string{"resync": "a", "another scope": "b"}[name] + ours[1:]
		remove(t, p.primary.Client(), web)
		put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", uid, ""))
		change()
		p.once(t)
		if now, _ := get(t, p.standby.Client(), web); !strings.Contains(now, uid) {
			t.Errorf("%s: the standby has %s", name, now)
		}
	}
}

// What the standby's controllers make in a Namespace of the primary's is in the
// place of what comes from there; what runs there is not.
func TestTwinsInANamespaceOfThePrimarys(t *testing.T) {
	p := newPair(t)
	namespace := stored("Namespace", "", "shop", ours, "")
	const account = "/registry/serviceaccounts/shop/default"
	put(t, p.primary.Client(), shop, namespace)
	p.once(t)
	put(t, p.standby.Client(), account, stored("ServiceAccount", "shop", "default", theirs, ""))
	put(t, p.primary.Client(), account, stored("ServiceAccount", "shop", "default", ours, ""))
	forget(t, p.primary.Client())
	p.once(t)
	if now, _ := get(t, p.standby.Client(), account); !strings.Contains(now, ours) {
		t.Errorf("the ServiceAccount is not the primary's: %s", now)
	}
	put(t, p.standby.Client(), web, stored("Deployment", "shop", "web", theirs, ""))
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, ""))
	forget(t, p.primary.Client())
	kept, _ := get(t, p.standby.Client(), web)
	if s := p.once(t); s.Copy.Conflicts != 1 {
		t.Errorf("a resync over a Deployment of the standby's own says %d conflicts, want 1", s.Copy.Conflicts)
	}
	p.stays(t, kept, "a resync")
	recorded(t, p, web, true)
}

// A resync that would replace what a Namespace of the standby's own holds is refused.
func TestResyncOverTwinsIsRefused(t *testing.T) {
	p := newPair(t)
	p.write(t, 1)
	p.once(t)
	const settings = "/registry/configmaps/shop/settings"
	put(t, p.standby.Client(), settings, stored("ConfigMap", "shop", "settings", theirs, ""))
	put(t, p.primary.Client(), settings, stored("ConfigMap", "shop", "settings", ours, ""))
	forget(t, p.primary.Client())
	kept, _ := get(t, p.standby.Client(), settings)
	if _, err := p.new(t).Once(t.Context()); !errors.Is(err, replica.ErrTwins) {
		t.Fatalf("resync: %v, want ErrTwins", err)
	}
	if now, _ := get(t, p.standby.Client(), settings); now != kept {
		t.Errorf("it was replaced: %s", now)
	}
}

// A daemon waits, says why, and goes on by itself.
func TestDaemonWaitsForTwinsToGo(t *testing.T) {
	p := newPair(t)
	put(t, p.primary.Client(), web, stored("Deployment", "shop", "web", ours, ""))
	put(t, p.standby.Client(), web, stored("Deployment", "shop", "web", theirs, ""))
	d := p.start(t)
	d.wait(t, "the daemon to halt", func(s replica.State) bool { return s.Phase == replica.Halted && errors.Is(s.Err, replica.ErrTwins) })
	remove(t, p.standby.Client(), web)
	d.wait(t, "the daemon to stream", streaming)
	p.quiet(t)
	p.mustEqual(t)
}

// recorded waits until there is a record of a conflict, or none.
func recorded(t *testing.T, p *pair, key string, want bool) {
	t.Helper()
	testkit.Eventually(t, 60e9, fmt.Sprintf("a record of the conflict at %s: %v", key, want), func() (bool, string) {
		value, there := get(t, p.standby.Client(), sink.ConflictPrefix+key)
		return there == want, value
	})
}

// forget makes an etcd keep nothing of what was before now.
func forget(t *testing.T, client *clientv3.Client) {
	compact(t, client, put(t, client, "/elsewhere", ""))
}
