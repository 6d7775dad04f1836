package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// Home is by what the primary itself is known: where its API servers are reached,
// and its machines. It tells the Cluster that describes the primary from those
// that the primary manages.
type Home struct {
	// Servers say of each address of the API servers, host:port, what it is.
	Servers map[string]string `json:"servers"`
	// Hosts say of each host of the control plane what it is: its API server listens there on one of Ports.
	Hosts map[string]string `json:"hosts"`
	Ports []string          `json:"ports"`
	// Machines are the primary's Nodes by their providerID.
	Machines map[string]string `json:"machines"`
}

// NewHome is a Home of which nothing is known yet.
func NewHome() Home {
	return Home{Servers: map[string]string{}, Hosts: map[string]string{}, Ports: []string{"6443"}, Machines: map[string]string{}}
}

// AddServer takes in the URL or the host and port of an API server.
func (h *Home) AddServer(address, what string) {
	if at, ok := hostPort(address); ok && h.Servers[at] == "" {
		h.Servers[at] = what
	}
}

// AddHost takes in a host of the control plane, or a URL to it; one that every
// machine calls itself by is none.
func (h *Home) AddHost(address, what string) {
	host := address
	if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	host = oneSpelling(host)
	if ip := net.ParseIP(host); host == "" || host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) || h.Hosts[host] != "" {
		return
	}
	h.Hosts[host] = what
}

func (h *Home) addPort(port any) {
	if n, ok := port.(int64); ok {
		if text := strconv.FormatInt(n, 10); !slices.Contains(h.Ports, text) {
			h.Ports = append(h.Ports, text)
			slices.Sort(h.Ports)
		}
	}
}

// Leads says what of the primary an address is; "" where it leads elsewhere.
func (h *Home) Leads(address string) string {
	at, ok := hostPort(address)
	if !ok {
		return ""
	}
	if what := h.Servers[at]; what != "" {
		return what
	}
	host, port, _ := net.SplitHostPort(at)
	if what := h.Hosts[host]; what != "" && slices.Contains(h.Ports, port) {
		return what
	}
	return ""
}

// hostPort is "10.0.0.10:6443" of an API server's address, which may be a URL.
func hostPort(address string) (string, bool) {
	if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
		port := u.Port()
		if port == "" {
			port = "443"
		}
		return net.JoinHostPort(oneSpelling(u.Hostname()), port), true
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "6443"
	}
	return net.JoinHostPort(oneSpelling(host), port), host != ""
}

// oneSpelling is a host in the one way in which it is compared: IPv6 has many.
func oneSpelling(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	return strings.ToLower(host)
}

// ReadPrimary adds what the primary's etcd says of its own API servers and
// machines. What is not there or cannot be read says nothing.
func (h *Home) ReadPrimary(ctx context.Context, primary *clientv3.Client, view *scope.View) error {
	prefix := view.Scope.RegistryPrefix()
	each := func(below string, visit func(name string, fields registry.Fields)) error {
		dir := prefix + below
		err := source.Each(ctx, primary, dir, kv.PrefixEnd(dir), 0, func(p kv.Pair) error {
			fields := registry.Fields{}
			if k, ok := view.Scope.Parse(p.Key); ok {
				if plain, err := view.Recoder.PlainOfPrimary(k.GroupResource(), p.Key, p.Value); err == nil {
					if read, err := registry.ReadFields(plain); err == nil {
						fields = read
					}
				}
			}
			visit(p.Key[strings.LastIndexByte(p.Key, '/')+1:], fields)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read what the primary says of itself: %w", err)
		}
		return nil
	}
	return errors.Join(
		each("masterleases/", func(name string, _ registry.Fields) { h.AddHost(name, "an API server of the primary") }),
		each("services/endpoints/default/kubernetes", func(name string, fields registry.Fields) {
			if name != "kubernetes" {
				return
			}
			subsets, _, _ := unstructured.NestedSlice(fields, "subsets")
			for _, subset := range subsets {
				s, _ := subset.(map[string]any)
				for _, a := range parts(s, "addresses") {
					h.AddHost(text(a, "ip"), "an API server of the primary")
				}
				for _, p := range parts(s, "ports") {
					h.addPort(p["port"])
				}
			}
		}),
		each("minions/", func(name string, fields registry.Fields) {
			labels, _, _ := unstructured.NestedStringMap(fields, "metadata", "labels")
			_, controlPlane := labels["node-role.kubernetes.io/control-plane"]
			_, master := labels["node-role.kubernetes.io/master"]
			if id, _, _ := unstructured.NestedString(fields, "spec", "providerID"); id != "" {
				h.Machines[id] = name
			}
			addresses, _, _ := unstructured.NestedSlice(fields, "status", "addresses")
			for _, a := range addresses {
				if one, _ := a.(map[string]any); (controlPlane || master) && text(one, "type") != "Hostname" {
					h.AddHost(text(one, "address"), "node "+name+" of the primary")
				}
			}
		}),
		each("configmaps/kube-system/kubeadm-config", func(_ string, fields registry.Fields) {
			raw, _, _ := unstructured.NestedString(fields, "data", "ClusterConfiguration")
			var c struct {
				ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
			}
			if yaml.Unmarshal([]byte(raw), &c) == nil && c.ControlPlaneEndpoint != "" {
				h.AddServer(c.ControlPlaneEndpoint, "the primary's controlPlaneEndpoint (ConfigMap kubeadm-config)")
			}
		}),
		each("configmaps/kube-public/cluster-info", func(_ string, fields registry.Fields) {
			raw, _, _ := unstructured.NestedString(fields, "data", "kubeconfig")
			for _, server := range Servers([]byte(raw)) {
				h.AddServer(server, "the primary's API server (ConfigMap cluster-info)")
			}
		}),
	)
}

func parts(of map[string]any, field string) (out []map[string]any) {
	all, _ := of[field].([]any)
	for _, one := range all {
		if m, ok := one.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func text(of map[string]any, field string) string {
	s, _ := of[field].(string)
	return s
}

// Servers are the addresses in a kubeconfig.
func Servers(kubeconfig []byte) (out []string) {
	var c struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
			} `json:"cluster"`
		} `json:"clusters"`
	}
	if yaml.Unmarshal(kubeconfig, &c) != nil {
		return nil
	}
	for _, one := range c.Clusters {
		if one.Cluster.Server != "" {
			out = append(out, one.Cluster.Server)
		}
	}
	return out
}

// Remember keeps a Home on the standby, for the day when the primary is gone, as
// long as the cluster is a standby. What is kept already is not written again.
func (h *Home) Remember(ctx context.Context, standby *clientv3.Client) error {
	fence, standing, err := Standing(ctx, standby)
	if err != nil || !standing {
		return err
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("keep what the primary is known by: %w", err)
	}
	unchanged := clientv3.Compare(clientv3.Value(sink.PrimaryKey), "=", string(raw))
	if _, err := standby.Txn(ctx).If(unchanged).Else(clientv3.OpTxn(fence, []clientv3.Op{clientv3.OpPut(sink.PrimaryKey, string(raw))}, nil)).Commit(); err != nil {
		return fmt.Errorf("keep what the primary is known by: %w", err)
	}
	return nil
}

// Recall adds what the standby remembers of the primary.
func (h *Home) Recall(ctx context.Context, standby *clientv3.Client) error {
	resp, err := standby.Get(ctx, sink.PrimaryKey)
	if err != nil {
		return fmt.Errorf("read what the primary is known by: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return nil
	}
	was := NewHome()
	if json.Unmarshal(resp.Kvs[0].Value, &was) != nil {
		return nil // the next daemon writes it anew
	}
	for _, m := range []struct{ into, from map[string]string }{{h.Servers, was.Servers}, {h.Hosts, was.Hosts}, {h.Machines, was.Machines}} {
		maps.Copy(m.into, m.from)
	}
	h.Ports = slices.Compact(slices.Sorted(slices.Values(append(h.Ports, was.Ports...))))
	return nil
}
