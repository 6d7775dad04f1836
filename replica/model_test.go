package replica_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/kv"
)

// The model test plays random faults against real daemons between real etcds,
// and lets the independent checker judge at every quiet point. UNDERSTUDY_SEED
// repeats the choice of a failed run, though not its timing.
func TestModel(t *testing.T) {
	slow(t)
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d members", members), func(t *testing.T) {
			play(t, givenSeed(t), members, 25*time.Second)
		})
	}
}

// TestSoakModel lasts as long as UNDERSTUDY_SOAK says; see make soak.
func TestSoakModel(t *testing.T) {
	text := os.Getenv("UNDERSTUDY_SOAK")
	if text == "" {
		t.Log("nothing to do without UNDERSTUDY_SOAK")
		return
	}
	limit, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("UNDERSTUDY_SOAK: %v", err)
	}
	until := time.Now().Add(limit)
	for n := 0; time.Now().Before(until) && !t.Failed(); n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			play(t, givenSeed(t), 1+2*(n%2), min(3*time.Minute, time.Until(until)))
		})
	}
}

func givenSeed(t *testing.T) uint64 {
	t.Helper()
	if text := os.Getenv("UNDERSTUDY_SEED"); text != "" {
		s, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("UNDERSTUDY_SEED: %v", err)
		}
		return s
	}
	return rand.Uint64()
}

// model is one run: a pair, its daemons, and what the standby should look like.
type model struct {
	*testing.T
	*pair
	dir    string // data, logs; kept on failure
	random *rand.Rand
	began  time.Time
	log    []string

	primaryLinks []*faultproxy.Proxy
	standbyLink  *faultproxy.Proxy
	daemons      []*proc.Process // alive; one of them leads
	spawned      int

	stable, flapping *checker.Writer
	stop             context.CancelFunc // of the writers
	writing          chan struct{}

	foreign map[string]string // created on the standby by others, and not on the primary
	// overlooked are foreign keys that the primary has created and deleted since.
	overlooked map[string]string
	created    int
	quietAt    [2]kv.Revision // the standby's, at the last quiet point and the one before
	reached    int64          // the checkpoint's, there
	marks      int
}

func play(t *testing.T, seed uint64, members int, limit time.Duration) {
	m := &model{T: t, random: rand.New(rand.NewPCG(seed, 0x5eed)), began: time.Now(), foreign: map[string]string{}, overlooked: map[string]string{}}
	var err error
	if m.dir, err = os.MkdirTemp("", "understudy-model-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.report(seed) })
	in := func(name string) testkit.EtcdOption {
		dir := filepath.Join(m.dir, name)
		return func(c *etcdproc.Config) { c.Dir = dir }
	}
	m.pair = &pair{primary: testkit.StartEtcd(t, testkit.Members(members), in("primary")), standby: testkit.StartEtcd(t, in("standby"))}
	m.config = m.defaults(t)
	m.config.Primary.Endpoints = nil
	for i := range members {
		link, url := m.primary.Proxy(i)
		m.primaryLinks = append(m.primaryLinks, link)
		m.config.Primary.Endpoints = append(m.config.Primary.Endpoints, url)
	}
	var url string
	m.standbyLink, url = m.standby.Proxy(0)
	m.config.Standby.Endpoints = []string{url}
	m.stable = checker.NewWriter(m.primary.Client(), checker.Workload{Seed: seed, Keys: 120, Key: stableKey, Value: object,
		Pace: 3 * time.Millisecond, Timeout: 2 * time.Second})
	m.flapping = checker.NewWriter(m.primary.Client(), checker.Workload{Seed: seed + 1, Keys: 40, Key: flappingKey, Value: flapping,
		Pace: 20 * time.Millisecond, Timeout: 2 * time.Second})
	t.Cleanup(m.calm)

	// What others create there is in the place of what comes from the primary, for
	// its Namespace is the primary's.
	put(t, m.primary.Client(), "/registry/namespaces/prod", stored("Namespace", "", "prod", "00000000-0000-4000-8000-00000000ffff", ""))
	m.write()
	m.spawn()
	rounds := 0
	for ; time.Since(m.began) < limit; rounds++ {
		for range 2 + m.random.IntN(5) {
			m.act()
		}
		m.judge()
	}
	acked, _, unknown := m.stable.Counts()
	t.Logf("seed %d: %d rounds, %d actions, %d transactions acknowledged, %d unknown, checkpoint %d",
		seed, rounds, len(m.log), acked, unknown, m.reached)
}

// report says how to repeat a failed run, and where its remains are.
func (m *model) report(seed uint64) {
	if !m.Failed() {
		os.RemoveAll(m.dir)
		return
	}
	m.Logf("repeat with UNDERSTUDY_SEED=%d; data directories and logs are kept in %s; what happened:\n%s", seed, m.dir, strings.Join(m.log, "\n"))
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%7.3f ", time.Since(m.began).Seconds())+fmt.Sprintf(format, args...))
}

// Keys that are always in scope: of kinds that hang together in trees, and of
// others.
func stableKey(i int) string {
	switch i % 3 {
	case 0:
		return fmt.Sprintf("/registry/configmaps/prod/m-%03d", i)
	case 1:
		return fmt.Sprintf("/registry/cluster.x-k8s.io/machines/prod/m-%03d", i)
	}
	return fmt.Sprintf("/registry/secrets/prod/m-%03d", i)
}

// Secrets that come into scope and leave it, as their type changes.
func flappingKey(i int) string { return fmt.Sprintf("/registry/secrets/prod/flapping-%03d", i) }

func flapping(key, unique string) []byte {
	kind := "Opaque"
	if len(unique)%2 == 0 || strings.HasSuffix(unique, "7") {
		kind = outOfScope
	}
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q},"type":%q,"data":{"unique":%q}}`, key, kind, unique)
}

const outOfScope = "kubernetes.io/service-account-token"

// write sets the writers to work until rest.
func (m *model) write() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop, m.writing = cancel, make(chan struct{})
	go func() {
		defer close(m.writing)
		flapped := make(chan struct{})
		go func() { defer close(flapped); m.flapping.Run(ctx) }()
		m.stable.Run(ctx)
		<-flapped
	}()
}

func (m *model) rest() {
	m.stop()
	<-m.writing
}

// spawn starts one more daemon.
func (m *model) spawn() {
	m.Helper()
	m.spawned++
	name := fmt.Sprintf("daemon-%d", m.spawned)
	raw, err := json.Marshal(childConfig{Primary: m.config.Primary, Standby: m.config.Standby, Identity: name, LeaseTTL: m.config.LeaseTTL})
	if err != nil {
		m.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		m.Fatal(err)
	}
	process, err := proc.Start(proc.Spec{Path: self, Env: []string{childEnv + "=" + string(raw)}, Log: filepath.Join(m.dir, name+".log")})
	if err != nil {
		m.Fatal(err)
	}
	m.daemons = append(m.daemons, process)
	m.note("start %s", name)
}

// calm ends everything that runs, for the end of the test.
func (m *model) calm() {
	m.rest()
	for _, d := range m.daemons {
		if m.Failed() {
			m.Logf("end of %s:\n%s", filepath.Base(d.LogPath()), d.LogTail(15))
		}
		d.Kill()
	}
}

// heal ends every fault.
func (m *model) heal() {
	m.Helper()
	for _, link := range append(m.primaryLinks, m.standbyLink) {
		if err := link.Restore(); err != nil {
			m.Fatal(err)
		}
	}
	alive := m.daemons[:0]
	for _, d := range m.daemons {
		if !d.Running() {
			m.Fatalf("%s ended by itself with %d:\n%s", filepath.Base(d.LogPath()), d.ExitCode(), d.LogTail(10))
		}
		alive = append(alive, d)
	}
	m.daemons = alive
	if len(m.daemons) == 0 {
		m.spawn()
	}
}

// judge waits for a quiet point and lets the checker look.
func (m *model) judge() {
	m.Helper()
	m.heal()
	m.rest()
	m.marks++
	// Something in scope, so that the checkpoint need not wait for a progress
	// notification.
	m.until("a last write", func(ctx context.Context) error {
		_, err := m.primary.Client().Put(ctx, "/registry/configmaps/prod/mark", configMap(m.marks))
		return err
	})
	m.note("quiet point %d", m.marks)
	m.quiet(m.T)
	cp, differences, err := checker.EqualAtCheckpoint(m.Context(), m.primary.Client(), m.standby.Client(), "/registry/", checker.Options{})
	if err != nil {
		m.Fatal(err)
	}
	if cp.SourceRevision < m.reached {
		m.Errorf("the checkpoint went back from %d to %d", m.reached, cp.SourceRevision)
	}
	m.reached, m.quietAt = cp.SourceRevision, [2]kv.Revision{kv.Revision(cp.ModRevision), m.quietAt[0]}
	spared := map[string]bool{}
	for _, d := range differences {
		if value := m.overlooked[d.Key]; d.Kind == checker.Surplus && value != "" && value == string(d.Destination) {
			m.foreign[d.Key] = value
		}
		switch {
		case d.Kind == checker.Missing && strings.Contains(string(d.Source), outOfScope):
		case d.Kind == checker.Surplus && m.foreign[d.Key] == string(d.Destination):
			spared[d.Key] = true
		default:
			m.Errorf("E: %s", d)
		}
	}
	for key := range m.foreign {
		if !spared[key] {
			m.Errorf("S: the foreign key %s is not what it was", key)
		}
	}
	clear(m.overlooked)
	lost, err := m.stable.Lost(m.Context(), m.standby.Client(), cp.SourceRevision, cp.ModRevision)
	if err != nil {
		m.Fatal(err)
	}
	for _, line := range lost {
		m.Errorf("L: %s", line)
	}
	if m.Failed() {
		m.FailNow()
	}
	m.note("equal at %d", cp.SourceRevision)
	m.write()
}

// until repeats a call until it goes through.
func (m *model) until(what string, call func(context.Context) error) {
	m.Helper()
	testkit.Eventually(m.T, 60*time.Second, what, func() (bool, string) {
		ctx, cancel := context.WithTimeout(m.Context(), 2*time.Second)
		defer cancel()
		if err := call(ctx); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}
