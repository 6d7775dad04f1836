package slowdisk_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/internal/testkit/slowdisk"
)

func open(t *testing.T, d *slowdisk.Disk) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(d.Dir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A healthy disk keeps what is written, to the file descriptor and to a mapping of it alike.
func TestHealthyDiskKeepsWhatIsWritten(t *testing.T) {
	d := testkit.SlowDisk(t)
	f := open(t, d)
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	mapped, err := syscall.Mmap(int(f.Fd()), 0, len(want), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mapped)
	if _, err := f.WriteAt([]byte("ZZ"), 4096); err != nil {
		t.Fatal(err)
	}
	copy(want[4096:], "ZZ")
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file holds something else: %v", err)
	}
	if !bytes.Equal(mapped, want) {
		t.Error("the mapping holds something else")
	}
	if d.Hit() != 0 {
		t.Errorf("%d accesses of a healthy disk met a fault", d.Hit())
	}
}

// A failing disk fails what it is told to fail, nothing else, and is whole again afterwards.
func TestFailingDisk(t *testing.T) {
	for name, tc := range map[string]struct {
		fails               slowdisk.Op
		write, sync, expand error
	}{
		"write": {fails: slowdisk.Write, write: syscall.EIO, expand: syscall.EIO},
		"sync":  {fails: slowdisk.Sync, sync: syscall.EIO},
		"both":  {fails: slowdisk.Write | slowdisk.Sync, write: syscall.EIO, sync: syscall.EIO, expand: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			d := testkit.SlowDisk(t)
			f := open(t, d)
			access := func(write, sync, expand error) {
				t.Helper()
				if _, err := f.Write([]byte("x")); !errors.Is(err, write) {
					t.Errorf("write: %v, want %v", err, write)
				}
				if err := f.Sync(); !errors.Is(err, sync) {
					t.Errorf("fsync: %v, want %v", err, sync)
				}
				if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, sync) {
					t.Errorf("fdatasync: %v, want %v", err, sync)
				}
				if err := syscall.Fallocate(int(f.Fd()), 0, 0, 1<<16); !errors.Is(err, expand) {
					t.Errorf("fallocate: %v, want %v", err, expand)
				}
			}
			access(nil, nil, nil)
			d.Fail(tc.fails, syscall.EIO)
			access(tc.write, tc.sync, tc.expand)
			if d.Hit() == 0 {
				t.Error("no access is said to have met the fault")
			}
			d.Heal()
			access(nil, nil, nil)
		})
	}
}

// A slow disk takes its time, until it is healed: then a waiting access goes on at once.
func TestSlowDisk(t *testing.T) {
	d := testkit.SlowDisk(t)
	f := open(t, d)
	d.Delay(slowdisk.Sync, 100*time.Millisecond)
	began := time.Now()
	if err := f.Sync(); err != nil || time.Since(began) < 100*time.Millisecond {
		t.Errorf("fsync: %v after %s", err, time.Since(began))
	}
	d.Delay(slowdisk.Sync, time.Hour)
	before, done := d.Hit(), make(chan error)
	go func() { done <- f.Sync() }()
	testkit.Eventually(t, 10*time.Second, "the fsync to reach the disk", func() (bool, string) { return d.Hit() > before, "" })
	d.Heal()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the fsync still waits")
	}
}
