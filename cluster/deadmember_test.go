package cluster

import (
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
)

// A dead or silent member, though it is the first of the endpoints, costs no
// more than a moment: a replica reconnects through here after every failure.
func TestDeadMembersCostLittleTime(t *testing.T) {
	e := testkit.StartEtcd(t)
	dead, deadURL := e.Proxy(0)
	dead.Cut()
	silent, silentURL := e.Proxy(0)
	silent.Blackhole(faultproxy.Both)
	began := time.Now()
	c, err := Dial(t.Context(), Config{Name: "primary", Endpoints: append([]string{deadURL, silentURL}, e.Endpoints()...)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	id, err := c.Identify(t.Context(), "/registry/")
	if err != nil || id.Version == "" || id.ID == 0 {
		t.Errorf("%+v, %v", id, err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s", took.Round(time.Millisecond))
	}
}
