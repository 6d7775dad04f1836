package cluster_test

import (
	"net"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/remedy"
)

// A load balancer accepts and hangs up while the etcd behind it is down. That
// passes by itself, so it must not look like a mistake in the configuration.
func TestHangingUpIsNoMistakeOfOurs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	defer func() {
		listener.Close()
		<-ended
	}()
	for _, scheme := range []string{"http://", "https://", "HTTPS://"} {
		_, err := cluster.Dial(t.Context(), cluster.Config{Name: "moscow", Endpoints: []string{scheme + listener.Addr().String()}})
		if err == nil || remedy.CodeOf(err) != remedy.Failed {
			t.Errorf("%s: exit status %d for %v, want %d", scheme, remedy.CodeOf(err), err, remedy.Failed)
		}
		if !strings.HasPrefix(remedy.Of(err), "is etcd running there") {
			t.Errorf("%s: remedy %q", scheme, remedy.Of(err))
		}
	}
}
