package cluster

import "testing"

func TestEtcdctlCanBePasted(t *testing.T) {
	for want, c := range map[string]Config{
		"etcdctl --endpoints=http://10.0.0.1:2379": {Endpoints: []string{"http://10.0.0.1:2379"}},
		"etcdctl --endpoints=https://10.0.0.1:2379,https://10.0.0.2:2379 --cacert=/etc/ca.crt --cert='/my files/c.crt' --key='/it'\\''s/k' --user=root": {
			Endpoints: []string{"https://10.0.0.1:2379", "https://10.0.0.2:2379"},
			CA:        "/etc/ca.crt", Cert: "/my files/c.crt", Key: "/it's/k", Username: "root"},
		"etcdctl --endpoints='http://[::1]:2379'": {Endpoints: []string{"http://[::1]:2379"}},
	} {
		if got := c.Etcdctl(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if got := (Config{Endpoints: []string{"http://a:1", "http://b:1"}}).Etcdctl("http://b:1"); got != "etcdctl --endpoints=http://b:1" {
		t.Error(got)
	}
}
