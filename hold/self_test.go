package hold

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// Where an address leads is a matter of the host and the port: control planes of others may
// be served on the primary's own nodes.
func TestHomeLeads(t *testing.T) {
	home := NewHome()
	home.AddServer("https://Platform.example.com", "the name")
	home.AddServer("10.0.0.10:6443", "the endpoint")
	home.AddHost("https://10.0.0.1:2379", "a member")
	home.AddHost("fd00::1", "a node")
	home.AddServer("https://[FD00:0:0::10]:6443", "the endpoint of IPv6")
	home.AddHost("fd00:0::2", "another node")
	home.AddHost("127.0.0.1", "loopback")
	home.AddHost("", "nothing")
	home.addPort(int64(8443))
	for address, want := range map[string]string{
		"https://platform.example.com:443": "the name", "platform.example.com:6443": "", "10.0.0.10:6443": "the endpoint", "https://10.0.0.10:6443/": "the endpoint",
		"10.0.0.10:30443": "", "10.0.0.1:6443": "a member", "10.0.0.1:8443": "a member", "10.0.0.1:31443": "", "https://[fd00::1]:6443": "a node", "[fd00::1]:6443": "a node",
		"https://[fd00::10]:6443": "the endpoint of IPv6", "fd00:0:0:0:0:0:0:10": "the endpoint of IPv6", "[FD00::0:2]:6443": "another node", "[fd00::3]:6443": "",
		"127.0.0.1:6443": "", "10.0.0.2:6443": "", "": "", "::": "",
	} {
		if got := home.Leads(address); got != want {
			t.Errorf("%q leads to %q, want %q", address, got, want)
		}
	}
}

// What describes the primary itself is found by what the primary is, with the primary gone,
// and stays held until it is named; all else is released.
func TestWhatDescribesThePrimaryStaysHeld(t *testing.T) {
	view := newView(t, nil)
	primary := testkit.StartEtcd(t).Client()
	for key, value := range map[string]string{
		"/registry/masterleases/10.0.0.1":                 `{"kind":"Endpoints","apiVersion":"v1","metadata":{"name":"x"}}`,
		"/registry/services/endpoints/default/kubernetes": `{"kind":"Endpoints","apiVersion":"v1","metadata":{"name":"kubernetes","namespace":"default"},"subsets":[{"addresses":[{"ip":"10.0.0.2"}],"ports":[{"port":7443}]}]}`,
		"/registry/configmaps/kube-system/kubeadm-config": `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"kubeadm-config","namespace":"kube-system"},"data":{"ClusterConfiguration":"controlPlaneEndpoint: 10.0.0.10:6443\n"}}`,
		"/registry/configmaps/kube-public/cluster-info":   `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"cluster-info","namespace":"kube-public"},"data":{"kubeconfig":"clusters: [{cluster: {server: 'https://platform.example.com:6443'}}]"}}`,
		"/registry/minions/cp-1":                          `{"kind":"Node","apiVersion":"v1","metadata":{"name":"cp-1","labels":{"node-role.kubernetes.io/control-plane":""}},"spec":{"providerID":"vsphere://1"},"status":{"addresses":[{"type":"InternalIP","address":"10.0.0.3"},{"type":"Hostname","address":"cp-1"}]}}`,
		"/registry/minions/worker-1":                      `{"kind":"Node","apiVersion":"v1","metadata":{"name":"worker-1"},"status":{"addresses":[{"type":"InternalIP","address":"10.0.0.30"}]}}`,
	} {
		if _, err := primary.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	s := newStage(t, view)
	cluster := func(name, spec string) kv.Pair { return object("clusters.cluster.x-k8s.io", "capi", name, spec) }
	machine := func(cluster, id string) kv.Pair {
		return object("machines.cluster.x-k8s.io", "capi", cluster+"-m", `{"clusterName":"`+cluster+`","providerID":"`+id+`"}`, `"labels":{"cluster.x-k8s.io/cluster-name":"`+cluster+`"}`)
	}
	endpoint := func(host string, port int) string {
		return fmt.Sprintf(`{"controlPlaneEndpoint":{"host":%q,"port":%d}}`, host, port)
	}
	kubeconfig := func(cluster, server string) kv.Pair {
		p := object("secrets", "capi", cluster+"-kubeconfig", `{}`)
		p.Value = []byte(strings.Replace(string(p.Value), `"spec":{}`, `"data":{"value":"`+base64.StdEncoding.EncodeToString([]byte("clusters: [{name: x, cluster: {server: '"+server+"'}}]"))+`"}`, 1))
		return p
	}
	host := object("baremetalhosts.metal3.io", "capi", "server-1", `{}`, `"labels":{"cluster.x-k8s.io/cluster-name":"mgmt"}`)
	local := object("clusters.management.cattle.io", "", "local", `{}`)
	local.Key, local.Value = "/registry/management.cattle.io/clusters/local", []byte(strings.Replace(string(local.Value), `"namespace":"",`, "", 1))
	s.replicate(cluster("mgmt", endpoint("10.0.0.10", 6443)), host,
		cluster("by-lease", endpoint("10.0.0.1", 7443)), cluster("by-node", endpoint("10.0.0.3", 6443)), cluster("by-config", endpoint("192.0.2.7", 6443)),
		cluster("by-kubeconfig", `{}`), kubeconfig("by-kubeconfig", "https://platform.example.com:6443"),
		cluster("by-machine", `{}`), machine("by-machine", "vsphere://1"),
		cluster("inside", `{}`), kubeconfig("inside", "https://kubernetes.default.svc"), local,
		cluster("hosted", endpoint("10.0.0.1", 31443)), cluster("worker", endpoint("10.0.0.30", 6443)), cluster("prod", endpoint("10.0.5.1", 6443)),
		kubeconfig("prod", "https://10.0.5.1:6443"), machine("prod", "vsphere://2"))

	home := NewHome()
	if err := home.ReadPrimary(t.Context(), primary, view); err != nil {
		t.Fatal(err)
	}
	if err := home.Remember(t.Context(), s.Client); err != nil {
		t.Fatal(err)
	}
	was := s.get("/understudy/primary").ModRevision
	if err := home.Remember(t.Context(), s.Client); err != nil || s.get("/understudy/primary").ModRevision != was {
		t.Errorf("written again: %v", err)
	}
	later := NewHome() // the primary is gone
	later.AddHost("https://192.0.2.7:2379", "a member of the primary's etcd")
	if err := later.Recall(t.Context(), s.Client); err != nil {
		t.Fatal(err)
	}
	self, err := FindSelf(t.Context(), s.Client, view, later)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, one := range self {
		names = append(names, one.Name)
		if !one.Held {
			t.Errorf("%s is not held", one.Name)
		}
	}
	want := []string{"capi/by-config", "capi/by-kubeconfig", "capi/by-lease", "capi/by-machine", "capi/by-node", "capi/inside", "capi/mgmt", "local"}
	if !slices.Equal(names, want) {
		t.Errorf("%q describe the primary, want %q", names, want)
	}

	names = nil
	release, stay, err := Divide(s.list(""), self, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range release {
		names = append(names, item.Name)
	}
	if want := []string{"hosted", "prod", "worker"}; !slices.Equal(names, want) || len(stay) != 9 {
		t.Errorf("%q are released and %d stay, want %q and 9", names, len(stay), want)
	}
	release, stay, err = Divide(s.list(""), self, []string{"capi/mgmt"})
	if err != nil || len(release) != 2 || release[0].Name != "mgmt" || release[1].Name != "server-1" || len(stay) != 0 {
		t.Errorf("by name: %+v, %+v, %v", release, stay, err)
	}
	if _, _, err := Divide(s.list(""), self, []string{"capi/prod"}); remedy.CodeOf(err) != remedy.Usage {
		t.Errorf("named, and describing nothing of the primary: %v", err)
	}
}

// A time stays known of a revision after etcd has forgotten it.
func TestSinceOutlivesCompaction(t *testing.T) {
	s := newStage(t, newView(t, nil))
	s.replicate(object("deployments.apps", "a", "web", `{"replicas":5}`))
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := Note(t.Context(), s.Client, at); err != nil {
		t.Fatal(err)
	}
	if since := s.list("")[0].Since; since == nil || !since.Equal(time.Unix(1e9, 0)) {
		t.Errorf("held since %v", since)
	}
	s.put("/registry/configmaps/a/later", "x")
	if _, err := s.Compact(t.Context(), int64(s.get("/registry/configmaps/a/later").ModRevision)); err != nil {
		t.Fatal(err)
	}
	if since := s.list("")[0].Since; since == nil || !since.Equal(at) {
		t.Errorf("held since %v, want %v", since, at)
	}
	s.replicate(object("deployments.apps", "a", "other", `{"replicas":5}`))
	if writtenBy([]moment{{Revision: 5, Time: at}}, 6) != nil || writtenBy([]moment{{5, at.Add(-time.Hour)}, {9, at}}, 6).Before(at) {
		t.Error("a revision has the time of an older one")
	}
}
