package acceptance_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/internal/testkit/toolchain"
)

// The quickstart works word by word, on two control planes whose etcds demand a
// user: only the values of its variables are the test's.
func TestQuickstart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two control planes")
	}
	primary := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{EtcdOptions: []testkit.EtcdOption{testkit.TLS()}, ControllerManager: true})
	standby := testkit.StartControlPlane(t, testkit.ControlPlaneOptions{EtcdOptions: []testkit.EtcdOption{testkit.TLS()}, ControllerManager: true})
	for i := range 30 {
		app := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("app-%d", i)}, Data: map[string]string{"n": fmt.Sprint(i)}}
		if _, err := primary.Client().CoreV1().ConfigMaps("default").Create(t.Context(), app, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	q := newQuickstart(t)
	q.set("PRIMARY", primary.Etcd().Endpoints()[0])
	q.set("STANDBY", standby.Etcd().Endpoints()[0])

	q.section("1. Install")
	for _, s := range []struct {
		name string
		cp   *testkit.ControlPlane
	}{{"moscow", primary}, {"spb", standby}} {
		q.set("SIDE", s.name)
		q.set("PKI", filepath.Dir(s.cp.Etcd().Files().CA))
		q.blocks("2. Get access", "openssl", 1)
		files := s.cp.Etcd().Files()
		q.env = append(q.env, "ETCDCTL_ENDPOINTS="+s.cp.Etcd().Endpoints()[0], "ETCDCTL_CACERT="+files.CA, "ETCDCTL_CERT="+files.Cert, "ETCDCTL_KEY="+files.Key)
		q.blocks("2. Get access", map[string]string{"moscow": "# the primary", "spb": "# the standby"}[s.name], 1)
		demandUsers(t, s.cp.Etcd().Client())
	}
	q.section("3. Write the configuration")
	q.section("4. Are they fit to be a pair?")

	// The start command's other end: a supervisor outside the script.
	started := filepath.Join(q.dir, "started")
	launched := make(chan struct{})
	go func() {
		defer close(launched)
		for t.Context().Err() == nil {
			if _, err := os.Stat(started); err == nil {
				standby.Etcd().Launch()
				return
			}
			select {
			case <-t.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	pid := standby.Etcd().Pids()[0]
	q.set("DATA", standby.Etcd().DataDir())
	q.set("STOP", fmt.Sprintf("kill -TERM %d && while kill -0 %d 2>/dev/null; do sleep 0.05; done", pid, pid))
	q.set("START", "touch "+started)
	q.section("5. Lift the standby's revision")
	<-launched
	standby.RestartAPIServer()

	q.section("6. Copy, check, stay in step")
	out := q.section("7. Watch it")
	if !strings.Contains(out, "LOCAL ETCD missed keys: 0\nLOCAL ETCD surplus keys: 0\n") {
		t.Errorf("/check says\n%s", out)
	}
	if _, err := standby.Client().CoreV1().ConfigMaps("default").Get(t.Context(), "app-29", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// demandUsers turns etcd's authentication on. The kit's own certificate is root's,
// the API server's is the user client's.
func demandUsers(t *testing.T, client *clientv3.Client) {
	t.Helper()
	for _, user := range []string{"root", "client"} {
		if _, err := client.UserAddWithOptions(t.Context(), user, "", &clientv3.UserAddOptions{NoPassword: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.UserGrantRole(t.Context(), user, "root"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.AuthEnable(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// quickstart runs the indented lines of docs/quickstart.md.
type quickstart struct {
	t        *testing.T
	dir      string
	sections map[string][]string // blocks by heading
	values   map[string]string   // of variables in capitals
	env      []string
}

func newQuickstart(t *testing.T) *quickstart {
	t.Helper()
	text, err := os.ReadFile("../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	etcdctl, err := toolchain.Path(t.Context(), "etcdctl@3.6")
	if err != nil {
		t.Fatal(err)
	}
	ports, err := proc.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.ReleasePorts(ports...) })
	q := &quickstart{t: t, dir: t.TempDir(), sections: map[string][]string{}, values: map[string]string{}}
	bin := filepath.Join(q.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"understudy": program, "etcdctl": etcdctl} {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	q.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "UNDERSTUDY_CONFIG="+filepath.Join(q.dir, "pair.yaml"))
	q.set("LISTEN", fmt.Sprintf("127.0.0.1:%d", ports[0]))
	t.Cleanup(func() {
		pids, _ := os.ReadFile(filepath.Join(q.dir, "pids"))
		for pid := range strings.FieldsSeq(string(pids)) {
			_ = exec.Command("kill", "-KILL", pid).Run()
		}
		log, _ := os.ReadFile(filepath.Join(q.dir, "sync.log"))
		t.Logf("sync.log:\n%s", log)
	})

	heading := ""
	for block := range strings.SplitSeq(string(text), "\n\n") {
		for line := range strings.SplitSeq(block, "\n") {
			if title, ok := strings.CutPrefix(line, "## "); ok {
				heading = title
			}
		}
		if strings.HasPrefix(block, "    ") {
			q.sections[heading] = append(q.sections[heading], strings.ReplaceAll("\n"+block, "\n    ", "\n")[1:])
		}
	}
	return q
}

// set gives a variable of the quickstart the test's value.
func (q *quickstart) set(name, value string) { q.values[name] = value }

var assignment = regexp.MustCompile(`([A-Z]+)=('[^']*'|[^ \n]+)`)

// section runs all blocks below a heading. Where understudy is installed is the
// test's affair.
func (q *quickstart) section(heading string) string {
	q.t.Helper()
	return q.blocks(heading, "", -1)
}

// blocks runs those below a heading that contain a text: want of them, or any
// number from one on.
func (q *quickstart) blocks(heading, containing string, want int) (out string) {
	q.t.Helper()
	ran := 0
	for _, block := range q.sections[heading] {
		if !strings.Contains(block, containing) {
			continue
		}
		ran++
		if strings.HasPrefix(block, "go build") {
			continue // the binary is on the PATH; building it as the page says is what the README's test does
		}
		script := "set -eu\n"
		for name, value := range q.values {
			script += fmt.Sprintf("%s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
		}
		script += assignment.ReplaceAllStringFunc(block, func(a string) string {
			if name, _, _ := strings.Cut(a, "="); q.values[name] != "" {
				return ":" // it has the test's value
			}
			return a
		})
		script += "\njobs -p >> pids\n"
		cmd := exec.CommandContext(q.t.Context(), "bash", "-c", script)
		cmd.Dir, cmd.Env = q.dir, q.env
		raw, err := cmd.CombinedOutput()
		out += string(raw)
		q.t.Logf("%s\n%s", block, raw)
		if err != nil {
			q.t.Fatalf("%s: %v\n%s\n%s", heading, err, block, raw)
		}
	}
	if ran == 0 || want >= 0 && ran != want {
		q.t.Fatalf("the quickstart has %d blocks with %q below %q", ran, containing, heading)
	}
	return out
}
