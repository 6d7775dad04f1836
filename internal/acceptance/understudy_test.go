package acceptance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
)

var buildDir string

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "understudy-acceptance-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

// binary is the path of understudy, built from this module once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "understudy")
	out, err := exec.Command("go", "build", "-o", path, "github.com/understudy-dr/understudy/cmd/understudy").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build understudy: %w\n%s", err, out)
	}
	return path, nil
})

// side is one cluster of a pair, as its configuration names it.
type side struct {
	*testkit.Etcd
	Encryption string // file with the EncryptionConfiguration; "" = none
	Through    string // URL of a proxy before it; "" = directly
}

// Endpoints are where understudy reaches it.
func (s side) Endpoints() []string {
	if s.Through != "" {
		return []string{s.Through}
	}
	return s.Etcd.Endpoints()
}

// pair is a primary, a standby and the binary that keeps the one in step with
// the other.
type pair struct {
	primary, standby side
	program, config  string
	dir              string
}

var configFile = template.Must(template.New("understudy.yaml").Parse(`{{define "cluster"}}
  etcd:
    endpoints: [{{range $i, $e := .Endpoints}}{{if $i}}, {{end}}{{$e}}{{end}}]
{{- with .Files}}{{if .CA}}
    ca: {{.CA}}
    cert: {{.Cert}}
    key: {{.Key}}
{{- end}}{{end}}
{{- if .Encryption}}
  encryption: {{.Encryption}}
{{- end}}
{{end -}}
apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary:
  name: moscow
{{- template "cluster" .Primary}}standby:
  name: spb
{{- template "cluster" .Standby}}sync:
  leaseTTL: 2s
{{range .More}}{{.}}
{{end}}listen: 127.0.0.1:0
`))

// newPair writes the configuration, with more lines where the defaults will not
// do; the first of them may continue sync, indented by two spaces.
func newPair(t *testing.T, primary, standby side, more ...string) *pair {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{primary: primary, standby: standby, program: program, dir: t.TempDir()}
	p.config = filepath.Join(p.dir, "understudy.yaml")
	var text bytes.Buffer
	if err := configFile.Execute(&text, map[string]any{"Primary": primary, "Standby": standby, "More": more}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.config, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// sync starts the daemon. It ends with the test, or with Stop.
func (p *pair) sync(t *testing.T) *proc.Process {
	t.Helper()
	daemon, err := proc.Start(proc.Spec{Path: p.program, Args: []string{"sync", "--config", p.config}, Dir: p.dir,
		Log: filepath.Join(p.dir, "sync.log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Stop()
		if t.Failed() {
			t.Logf("end of understudy's log:\n%s", daemon.LogTail(30))
		}
	})
	return daemon
}

// logged reports whether any daemon of the pair has logged a line with text in it.
func (p *pair) logged(t *testing.T, text string) bool {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(p.dir, "sync.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(log), text)
}

// reaches waits until the standby's checkpoint claims everything up to the
// primary's revision, and no copy is under way.
func (p *pair) reaches(t *testing.T, revision int64) {
	t.Helper()
	testkit.Eventually(t, time.Minute, fmt.Sprintf("the checkpoint to reach revision %d", revision), func() (bool, string) {
		c, err := checker.ReadCheckpoint(t.Context(), p.standby.Client())
		if err != nil {
			return false, err.Error()
		}
		streams := bytes.Contains(c.Raw, []byte(`"phase":"streaming"`))
		return streams && c.SourceRevision >= revision, string(c.Raw)
	})
}

// checked is what understudy check -o json says.
type checked struct {
	Verdict         string `json:"verdict"`
	SourceRevision  int64  `json:"sourceRevision"`
	StandbyRevision int64  `json:"standbyRevision"`
	Compared        int64  `json:"compared"`
	Missed          found  `json:"missed"`
	Surplus         found  `json:"surplus"`
	Differing       found  `json:"differing"`
	Undecodable     found  `json:"undecodable"`
	Conflict        found  `json:"conflict"`
	OtherVersion    found  `json:"otherVersion"`
}

type found struct {
	Count int64    `json:"count"`
	Keys  []string `json:"keys"`
}

// check runs understudy check and returns what it says and its exit status.
func (p *pair) check(t *testing.T) (checked, int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), p.program, "check", "--config", p.config, "-o", "json")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("understudy check: %v", err)
	}
	var c checked
	if err := json.Unmarshal(stdout.Bytes(), &c); err != nil {
		t.Fatalf("understudy check printed %q on stdout (%v) and on stderr:\n%s", stdout.String(), err, stderr.String())
	}
	return c, cmd.ProcessState.ExitCode()
}

// consistent demands that understudy check finds no difference among at least
// so many keys.
func (p *pair) consistent(t *testing.T, atLeast int64) {
	t.Helper()
	c, status := p.check(t)
	if c.Verdict != "consistent" || status != 0 || c.Compared < atLeast {
		t.Fatalf("understudy check: exit status %d, %+v; want consistent, 0, and at least %d keys compared", status, c, atLeast)
	}
	t.Logf("check: consistent, %d keys compared, primary at %d, standby at %d", c.Compared, c.SourceRevision, c.StandbyRevision)
}

// holdsFor checks cond every second for as long as d; the first time that it
// does not hold fails the test.
func holdsFor(t *testing.T, d time.Duration, what string, cond func() (ok bool, state string)) {
	t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	began := time.Now()
	for {
		if ok, state := cond(); !ok {
			t.Fatalf("%s: no longer after %s: %s", what, time.Since(began).Round(time.Second), state)
		}
		select {
		case <-end.C:
			return
		case <-t.Context().Done():
			t.Fatalf("test ended while %s was watched", what)
		case <-tick.C:
		}
	}
}

// controlPlanes starts a primary, which has the tests' namespace, and a standby, both
// with their controllers.
func controlPlanes(t *testing.T) (moscow, spb *testkit.ControlPlane, primary *api) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs two control planes")
	}
	moscow = testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	spb = testkit.StartControlPlane(t, testkit.ControlPlaneOptions{ControllerManager: true})
	primary = newAPI(t, moscow)
	primary.create(t, reference("v1", "Namespace", "", ours))
	return moscow, spb, primary
}
