package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/remedy"
)

// told runs a function when a text is first written to it.
type told struct {
	bytes.Buffer
	text string
	do   func()
}

func (w *told) Write(p []byte) (int, error) {
	if w.do != nil && bytes.Contains(p, []byte(w.text)) {
		w.do()
		w.do = nil
	}
	return w.Buffer.Write(p)
}

// raiseSwapped lifts a standby's only etcd in place, with a start command that
// does nothing.
func raiseSwapped(t *testing.T, standby *testkit.Etcd, stderr *told) (remedy.Code, string) {
	t.Helper()
	primary := testkit.StartEtcd(t)
	if _, err := standby.Client().Put(t.Context(), "/understudy/role", `{"role":"standby","term":1}`); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	text := fmt.Sprintf("apiVersion: understudy.dev/v1alpha1\nkind: Pair\nmetadata: {name: moscow-spb}\nprimary: {name: moscow, etcd: {endpoints: [%q]}}\nstandby: {name: spb, etcd: {endpoints: [%q]}}\n",
		primary.Endpoints()[0], standby.Endpoints()[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := standby.Pids()[0]
	var stdout bytes.Buffer
	code := run([]string{"floor", "raise", "--offline", "--data-dir", standby.DataDir(), "--apply", "--yes", "--config", file,
		"--stop-command", fmt.Sprintf("kill -TERM %d && while kill -0 %d 2>/dev/null; do sleep 0.05; done", pid, pid), "--start-command", "true"}, &stdout, stderr)
	return code, stdout.String() + stderr.String()
}

// Where a supervisor starts etcd again while its data is swapped, a raise that
// says it is done has been done: etcd serves above the floor, and what it
// accepts from then on survives it.
func TestFloorRaiseUnderASupervisor(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two etcds")
	}
	standby := testkit.StartEtcd(t, testkit.Version("3.5"), testkit.Flags("--snapshot-count=20"))
	put := func(dir string) (keys []string) {
		t.Helper()
		for i := range 60 {
			key := fmt.Sprintf("%s/%d", dir, i)
			if _, err := standby.Client().Put(t.Context(), key, "x"); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		}
		return keys
	}
	put("/registry/configmaps/a")
	stop, stopped := make(chan struct{}), make(chan struct{})
	supervise := func() {
		go func() {
			defer close(stopped)
			for {
				standby.Launch()
				select {
				case <-time.After(20 * time.Millisecond):
				case <-stop:
					return
				}
			}
		}()
	}
	code, out := raiseSwapped(t, standby, &told{text: "making the lifted data", do: supervise})
	close(stop)
	<-stopped
	if code != remedy.OK || !strings.Contains(out, "lifted spb from revision") {
		t.Fatalf("exit status %d\n%s", code, out)
	}
	acknowledged := put("/late")
	standby.Restart() // kills it first
	for _, key := range acknowledged {
		got, err := standby.Client().Get(t.Context(), key)
		if err != nil || len(got.Kvs) != 1 || got.Kvs[0].ModRevision < defaultMargin {
			t.Fatalf("%s was acknowledged: %+v, %v", key, got, err)
		}
	}
}

// A raise that is interrupted after the swap says what is in place now, and how
// to go back.
func TestFloorRaiseInterruptedAfterTheSwap(t *testing.T) {
	standby := testkit.StartEtcd(t)
	interrupt := func() {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Signal(os.Interrupt)
		}
		if err != nil {
			t.Error(err)
		}
	}
	code, out := raiseSwapped(t, standby, &told{text: "starting etcd", do: interrupt})
	want := regexp.MustCompile(`(?s)the lifted data, which is in place: cluster [0-9a-f]+, revision 1000000\d+.*to go back, with etcd stopped: test -d .*/before-floor-.*restart every API server`)
	if code != remedy.Unknown || !want.MatchString(out) {
		t.Errorf("exit status %d, want %d\n%s", code, remedy.Unknown, out)
	}
}
