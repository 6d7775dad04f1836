package kube_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/kv"
)

// road leads a client to one address or another, as a DNS name does.
type road struct {
	mu    sync.Mutex
	to    string // "" = nowhere
	conns []net.Conn
	// What the client asked for since the road leads to where it does.
	lists, watches int
}

func (r *road) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to == "" {
		return nil, syscall.ECONNREFUSED // a reflector watches again; after other errors it lists first
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, r.to)
	if err == nil {
		r.conns = append(r.conns, conn)
	}
	return conn, err
}

func (r *road) lead(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns, r.to, r.lists, r.watches = nil, to, 0, 0
}

func (r *road) asked() (lists, watches int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists, r.watches
}

type tripper func(*http.Request) (*http.Response, error)

func (t tripper) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// traveller is an informer on ConfigMaps that follows a road.
type traveller struct {
	road
	name  string
	store cache.SharedIndexInformer
}

func startTraveller(t *testing.T, name string, cp *testkit.ControlPlane) *traveller {
	t.Helper()
	tr := &traveller{name: name}
	tr.lead(host(t, cp))
	config := cp.Config()
	config.Dial = tr.dial
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return tripper(func(req *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err == nil {
				tr.mu.Lock()
				if q := req.URL.Query(); q.Get("watch") == "" || q.Get("sendInitialEvents") == "true" {
					tr.lists++
				} else {
					tr.watches++
				}
				tr.mu.Unlock()
			}
			return resp, err
		})
	})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace("team"))
	tr.store = factory.Core().V1().ConfigMaps().Informer()
	ctx, cancel := context.WithCancel(context.Background())
	factory.Start(ctx.Done())
	t.Cleanup(func() { cancel(); factory.Shutdown() })
	tr.eventually(t, "x=0")
	return tr
}

// sees is what the informer holds, as "x=1 y=1".
func (tr *traveller) sees() string {
	text := ""
	for _, name := range []string{"x", "y", "z"} {
		if object, found, _ := tr.store.GetStore().GetByKey("team/" + name); found {
			text += " " + name + "=" + object.(*corev1.ConfigMap).Data["v"]
		}
	}
	if text == "" {
		return text
	}
	return text[1:]
}

// eventually leaves room for the informer to back off while nobody answers.
func (tr *traveller) eventually(t *testing.T, want string) {
	t.Helper()
	testkit.Eventually(t, 2*time.Minute, tr.name+" sees "+want, func() (bool, string) { return tr.sees() == want, tr.sees() })
}

// never waits as long as an event takes a hundred times over.
func (tr *traveller) never(t *testing.T, unseen ...string) {
	t.Helper()
	end := time.After(5 * time.Second)
	for {
		select {
		case <-end:
			return
		case <-time.After(50 * time.Millisecond):
			for _, s := range unseen {
				if tr.sees() == s {
					t.Fatalf("%s sees %s", tr.name, s)
				}
			}
		}
	}
}

// accepted waits until a watch of the informer was accepted.
func (tr *traveller) accepted(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, 2*time.Minute, tr.name+" watches", func() (bool, string) {
		lists, watches := tr.asked()
		return watches > 0, fmt.Sprintf("%d lists, %d watches", lists, watches)
	})
	if lists, _ := tr.asked(); lists > 0 {
		t.Errorf("%s listed anew", tr.name)
	}
}

func host(t *testing.T, cp *testkit.ControlPlane) string {
	t.Helper()
	u, err := url.Parse(cp.URL())
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func setConfigMap(t *testing.T, cp *testkit.ControlPlane, name, value string) kv.Revision {
	t.Helper()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "team"}, Data: map[string]string{"v": value}}
	api := cp.Client().CoreV1().ConfigMaps("team")
	got, err := api.Update(t.Context(), object, metav1.UpdateOptions{})
	if err != nil {
		if got, err = api.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	rev, err := strconv.ParseInt(got.ResourceVersion, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kv.Revision(rev)
}

// replicate copies the stored objects as they are, as a replication does.
func replicate(t *testing.T, from, to *testkit.ControlPlane, prefixes ...string) {
	t.Helper()
	for _, prefix := range prefixes {
		resp, err := from.Etcd().Client().Get(t.Context(), prefix, clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range resp.Kvs {
			if _, err := to.Etcd().Client().Put(t.Context(), string(p.Key), string(p.Value)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func revisionOf(t *testing.T, cp *testkit.ControlPlane) kv.Revision {
	t.Helper()
	resp, err := cp.Etcd().Client().Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	return kv.Revision(resp.Header.Revision)
}

func lift(t *testing.T, cp *testkit.ControlPlane, to kv.Revision) {
	t.Helper()
	c, err := cluster.Dial(t.Context(), cluster.Config{Name: "etcd", Endpoints: cp.Etcd().Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Lift(t.Context(), cluster.Lift{To: to}); err != nil {
		t.Fatal(err)
	}
}

func mustAnswer(t *testing.T, api *kube.API, at kv.Revision, want kube.Answer) {
	t.Helper()
	servers, err := api.AskFloor(t.Context(), at)
	if err != nil || len(servers) != 1 || servers[0].Answer != want {
		t.Fatalf("asked at %d: %+v, %v; want %s", at, servers, err, want)
	}
}

// Informers that are connected to the primary are led to the standby with their
// last resourceVersion. Without the floor one hangs, and another misses an
// event for good and does not know it. With the floor one lists anew and sees
// everything.
func TestInformersFollowToTheStandby(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two control planes")
	}
	primary := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{})
	standby := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{CA: primary.CA(), ServiceAccountKey: primary.ServiceAccountKey()})
	api, err := kube.Open(standby.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	lift(t, primary, revisionOf(t, standby)+5_000) // it has lived longer
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}}
	if _, err := primary.Client().CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	setConfigMap(t, primary, "x", "0")
	hangs, misses, safe := startTraveller(t, "hangs", primary), startTraveller(t, "misses", primary), startTraveller(t, "safe", primary)
	seen := setConfigMap(t, primary, "x", "1")
	replicate(t, primary, standby, "/registry/namespaces/team", "/registry/configmaps/team/")

	// The primary goes on while they are on their way.
	for _, tr := range []*traveller{hangs, misses, safe} {
		tr.eventually(t, "x=1") // an event: a watch that ended without one is not taken up again
		tr.lead("")
	}
	setConfigMap(t, primary, "x", "2")
	replicate(t, primary, standby, "/registry/configmaps/team/x")

	// Above the standby's revision: nothing arrives at all.
	hangs.lead(host(t, standby))
	hangs.accepted(t)
	setConfigMap(t, standby, "y", "1")
	hangs.never(t, "x=2", "x=2 y=1", "x=1 y=1")
	mustAnswer(t, api, seen, kube.Accepted)

	// Inside the window: what comes is seen, what was before is missed for good.
	lift(t, standby, revisionOf(t, primary)+1_000)
	misses.lead(host(t, standby))
	misses.accepted(t)
	setConfigMap(t, standby, "z", "1")
	misses.eventually(t, "x=1 z=1")
	misses.never(t, "x=2 z=1", "x=2 y=1 z=1", "x=1 y=1 z=1")
	mustAnswer(t, api, seen, kube.Accepted)

	// Below the revision that the API server started at: 410, and a new list.
	standby.RestartAPIServer()
	mustAnswer(t, api, revisionOf(t, primary), kube.Expired)
	safe.lead(host(t, standby))
	safe.eventually(t, "x=2 y=1 z=1")
	if lists, _ := safe.asked(); lists == 0 {
		t.Error("it did not list anew")
	}
	setConfigMap(t, standby, "y", "2")
	safe.eventually(t, "x=2 y=2 z=1")
}

func TestAskFloorOfAServerThatIsGone(t *testing.T) {
	a, err := kube.OpenConfig(&rest.Config{Host: "https://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if servers, err := a.AskFloor(t.Context(), 1); err == nil {
		t.Errorf("%+v, want an error", servers)
	}
}
