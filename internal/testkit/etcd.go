// Package testkit gives tests the real thing: etcd clusters and Kubernetes
// control planes as child processes, and the faults to break them with.
//
// Everything started here ends with the test. When a test fails, the end of
// each log is printed.
package testkit

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/internal/testkit/slowdisk"
)

// logTail is how many lines of a log a failed test shows.
const logTail = 5

// EtcdOption changes what StartEtcd starts.
type EtcdOption func(*etcdproc.Config)

// Version chooses the etcd release series: "3.5", "3.6" (the default) or "3.7".
func Version(series string) EtcdOption {
	return func(c *etcdproc.Config) { c.Version = series }
}

// Flags are added to every member's command line.
func Flags(flags ...string) EtcdOption {
	return func(c *etcdproc.Config) { c.Flags = append(c.Flags, flags...) }
}

// TLS gives the members server certificates and makes them require client
// certificates; see Etcd.Files.
func TLS() EtcdOption {
	return func(c *etcdproc.Config) { c.TLS = true }
}

// ClientLifetime is TLS with a client certificate in the files that lives that long.
func ClientLifetime(d time.Duration) EtcdOption {
	return func(c *etcdproc.Config) { c.TLS, c.ClientLifetime = true, d }
}

// ServerLifetime is TLS with server certificates that live that long.
func ServerLifetime(d time.Duration) EtcdOption {
	return func(c *etcdproc.Config) { c.TLS, c.ServerLifetime = true, d }
}

// Auth turns etcd's authentication on. Client() is root, who has the same password.
func Auth(user, password string) EtcdOption {
	return func(c *etcdproc.Config) { c.User, c.Password = user, password }
}

// Members starts a cluster of n members.
func Members(n int) EtcdOption {
	return func(c *etcdproc.Config) { c.Members = n }
}

// DataDir starts one member on an existing data directory, such as a restored one.
func DataDir(dir string) EtcdOption {
	return func(c *etcdproc.Config) { c.DataDir = dir }
}

// Fsync makes the members wait for the disk, as in production; slower.
func Fsync() EtcdOption {
	return func(c *etcdproc.Config) { c.Fsync = true }
}

// OnDisk lets member i keep its data on that disk, and makes all members wait
// for theirs.
func OnDisk(i int, disk *slowdisk.Disk) EtcdOption {
	return func(c *etcdproc.Config) {
		c.Fsync = true
		if c.Disks == nil {
			c.Disks = map[int]string{}
		}
		c.Disks[i] = disk.Dir()
	}
}

// SlowDisk mounts a disk that can be made slow and made to fail. It is
// unmounted at the end of the test.
func SlowDisk(t testing.TB) *slowdisk.Disk {
	t.Helper()
	disk, err := slowdisk.Mount(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return disk
}

// Etcd is a running etcd cluster of one or more members. What cannot be done fails the test.
type Etcd struct {
	t       testing.TB
	cluster *etcdproc.Cluster
}

// StartEtcd starts an etcd that ends with the test.
func StartEtcd(t testing.TB, opts ...EtcdOption) *Etcd {
	t.Helper()
	config := etcdproc.Config{Dir: t.TempDir()}
	for _, opt := range opts {
		opt(&config)
	}
	cluster, err := etcdproc.Start(t.Context(), config)
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for i := range cluster.Len() {
				t.Logf("end of etcd's log (%s):\n%s", cluster.Endpoints()[i], proc.Tail(cluster.LogPath(i), logTail))
			}
		}
		cluster.Stop()
	})
	return &Etcd{t: t, cluster: cluster}
}

// Endpoints are the client URLs of the members.
func (e *Etcd) Endpoints() []string { return e.cluster.Endpoints() }

// Client is an administrator's client, direct, closed at the end of the test.
func (e *Etcd) Client() *clientv3.Client { return e.cluster.Client() }

// NewClient dials with config, filling endpoints and credentials that it
// leaves empty with the kit's own. It is closed at the end of the test.
func (e *Etcd) NewClient(config clientv3.Config) *clientv3.Client {
	e.t.Helper()
	client, err := e.cluster.NewClient(config)
	if err != nil {
		e.t.Fatalf("dial etcd: %v", err)
	}
	e.t.Cleanup(func() { client.Close() })
	return client
}

// Proxy puts a fault proxy before member i and returns it with its URL.
func (e *Etcd) Proxy(i int) (*faultproxy.Proxy, string) {
	e.t.Helper()
	p, err := faultproxy.New(e.cluster.Endpoints()[i])
	if err != nil {
		e.t.Fatalf("start a proxy: %v", err)
	}
	e.t.Cleanup(p.Close)
	return p, p.URL()
}

// Kill ends every member with SIGKILL and waits until they are gone.
func (e *Etcd) Kill() { e.cluster.Kill() }

// Stop ends the cluster before the test does. It cannot be restarted.
func (e *Etcd) Stop() { e.cluster.Stop() }

// Restart starts every member again on the same ports and data and waits
// until it serves. Flags, if any, replace those of before.
func (e *Etcd) Restart(flags ...string) {
	e.t.Helper()
	if len(flags) > 0 {
		e.cluster.SetFlags(flags...)
	}
	e.must("restart", e.cluster.Restart(e.t.Context()))
}

// Launch starts every member again without waiting until it serves.
func (e *Etcd) Launch() { e.t.Helper(); e.must("launch", e.cluster.Launch()) }

// Pause freezes every member with SIGSTOP.
func (e *Etcd) Pause() { e.t.Helper(); e.must("pause", e.cluster.Pause()) }

// Continue ends a Pause.
func (e *Etcd) Continue() { e.t.Helper(); e.must("continue", e.cluster.Continue()) }

// KillMember ends member i with SIGKILL.
func (e *Etcd) KillMember(i int) { e.cluster.KillMember(i) }

// RestartMember starts member i again and waits until it serves.
func (e *Etcd) RestartMember(i int) {
	e.t.Helper()
	e.must("restart a member of", e.cluster.RestartMember(e.t.Context(), i))
}

// PauseMember freezes member i with SIGSTOP.
func (e *Etcd) PauseMember(i int) { e.t.Helper(); e.must("pause", e.cluster.PauseMember(i)) }

// ContinueMember ends a PauseMember.
func (e *Etcd) ContinueMember(i int) { e.t.Helper(); e.must("continue", e.cluster.ContinueMember(i)) }

// Running says whether member i has not ended.
func (e *Etcd) Running(i int) bool { return e.cluster.Running(i) }

// LeaderIndex waits until one of the running members leads and returns its index.
func (e *Etcd) LeaderIndex() int {
	e.t.Helper()
	leader := 0
	Eventually(e.t, 30*time.Second, "a leader", func() (bool, string) {
		var err error
		if leader, err = e.cluster.LeaderIndex(e.t.Context()); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	return leader
}

// Files are the PEM files of an etcd with TLS.
func (e *Etcd) Files() etcdproc.Files { return e.cluster.Files() }

// CA is the authority of an etcd with TLS, to issue further certificates.
func (e *Etcd) CA() *certs.CA { return e.cluster.CA() }

// ReissueClient replaces the client certificate in Files by one of another lifetime.
func (e *Etcd) ReissueClient(lifetime time.Duration) {
	e.t.Helper()
	e.must("reissue the client certificate of", e.cluster.ReissueClient(lifetime))
}

// ReissueServer replaces the server certificate in Files by one of another
// lifetime; etcd presents it on the next connection.
func (e *Etcd) ReissueServer(lifetime time.Duration) {
	e.t.Helper()
	e.must("reissue the server certificate of", e.cluster.ReissueServer(lifetime))
}

// DataDir is the data directory of the first member.
func (e *Etcd) DataDir() string { return e.cluster.DataDir(0) }

// MemberDataDir is the data directory of member i.
func (e *Etcd) MemberDataDir(i int) string { return e.cluster.DataDir(i) }

// LogPath is the log of member i.
func (e *Etcd) LogPath(i int) string { return e.cluster.LogPath(i) }

// Pids are the process IDs of the members.
func (e *Etcd) Pids() []int { return e.cluster.Pids() }

// Metrics are the first member's own; see etcdproc.
func (e *Etcd) Metrics() map[string]float64 {
	e.t.Helper()
	all, err := e.cluster.Metrics(e.t.Context())
	e.must("read the metrics of", err)
	return all
}

// RSS is the resident memory of the running members together, in bytes.
func (e *Etcd) RSS() int64 {
	e.t.Helper()
	rss, err := e.cluster.RSS()
	e.must("read the memory of", err)
	return rss
}

func (e *Etcd) must(do string, err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("%s etcd: %v", do, err)
	}
}
