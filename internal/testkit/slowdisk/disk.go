// Package slowdisk is a file system that misbehaves on demand: its writes and
// fsyncs can be made slow, and made to fail, while a process works on it.
//
// It is a FUSE loopback onto an ordinary directory, mounted without any helper
// program, so it needs Linux, /dev/fuse and root. An fsync that it lets pass is
// not passed on to the real disk: a process that is killed loses nothing by
// that, only a killed machine would.
package slowdisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Op is a kind of access that can be made to misbehave, or several.
type Op int

// Kinds of access.
const (
	Write Op = 1 << iota // also growing or cutting a file
	Sync
)

// Need says what a machine lacks on which Mount fails for its own sake.
const Need = "it needs Linux, /dev/fuse (modprobe fuse; in a container: --device /dev/fuse) and root or CAP_SYS_ADMIN; no package"

// Disk is a mounted file system. Every method is safe for concurrent use.
type Disk struct {
	dir    string
	server *fuse.Server

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the faults change
	delay   map[Op]time.Duration
	fault   map[Op]syscall.Errno
	hit     int
}

// fsName is how the mounts of this package are known among others.
const fsName = "understudy-slowdisk"

// Mount makes a disk whose files lie in a directory below dir, healthy at
// first. The caller closes it, after whoever uses it has ended.
func Mount(dir string) (*Disk, error) {
	forgetTheDead()
	backing := filepath.Join(dir, "backing")
	d := &Disk{dir: filepath.Join(dir, "disk"), changed: make(chan struct{}),
		delay: map[Op]time.Duration{}, fault: map[Op]syscall.Errno{}}
	for _, name := range []string{backing, d.dir} {
		if err := os.MkdirAll(name, 0o700); err != nil {
			return nil, err
		}
	}
	root, err := newRoot(backing, d)
	if err != nil {
		return nil, err
	}
	d.server, err = fs.Mount(d.dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, FsName: fsName, Name: "loopback",
	}})
	if err != nil {
		return nil, fmt.Errorf("mount a FUSE file system: %w; %s", err, Need)
	}
	return d, nil
}

// Dir is where the disk is mounted.
func (d *Disk) Dir() string { return d.dir }

// Delay makes each such access take at least that long from now on; 0 ends it.
func (d *Disk) Delay(op Op, by time.Duration) {
	d.change(func() { set(d.delay, op, by) })
}

// Fail makes each such access fail from now on; 0 ends it.
func (d *Disk) Fail(op Op, with syscall.Errno) {
	d.change(func() { set(d.fault, op, with) })
}

// Heal ends all faults. An access that is being delayed goes on at once.
func (d *Disk) Heal() {
	d.change(func() { clear(d.delay); clear(d.fault) })
}

// Hit is how many accesses were delayed or failed.
func (d *Disk) Hit() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hit
}

// Close heals the disk and unmounts it, also where a file on it is still open.
func (d *Disk) Close() error {
	d.Heal()
	if d.server.Unmount() == nil {
		return nil
	}
	return syscall.Unmount(d.dir, syscall.MNT_DETACH) // an ending process may hold a file
}

func (d *Disk) change(how func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how()
	close(d.changed)
	d.changed = make(chan struct{})
}

func set[V any](of map[Op]V, ops Op, to V) {
	for _, one := range []Op{Write, Sync} {
		if ops&one != 0 {
			of[one] = to
		}
	}
}

// suffer lets one access feel the faults. Where it fails, nothing was done.
func (d *Disk) suffer(op Op) syscall.Errno {
	began := time.Now()
	for counted := false; ; {
		d.mu.Lock()
		delay, fault, changed := d.delay[op], d.fault[op], d.changed
		left := delay - time.Since(began)
		if !counted && (delay > 0 || fault != 0) {
			d.hit++
			counted = true
		}
		d.mu.Unlock()
		if fault != 0 || left <= 0 {
			return fault
		}
		select {
		case <-time.After(left):
		case <-changed:
		}
	}
}

// forgetTheDead takes away what a test that was killed has left mounted. Its
// file system answers nothing any more.
func forgetTheDead() {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != fsName {
			continue
		}
		if _, err := os.Stat(f[1]); errors.Is(err, syscall.ENOTCONN) {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
}
