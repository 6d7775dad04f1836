package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// supervise starts an etcd again whenever it has ended, as kubelet and systemd's
// Restart=always do, until the function that it returns is called.
func supervise(e *testkit.Etcd) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			e.Launch()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// An etcd that a supervisor starts while the lifted data is made never gets the
// old database together with the new log: in the end it has the lifted data, and
// the old data is as it was.
func TestSwapUnderASupervisor(t *testing.T) {
	for _, version := range []string{"3.5", "3.6", "3.7"} {
		t.Run(version, func(t *testing.T) {
			if testing.Short() && version != "3.6" {
				t.Skip("one version is enough")
			}
			e := testkit.StartEtcd(t, testkit.Version(version))
			fill(t, e.Client(), 200)
			before := everything(t, e.Client())
			s := swapOf(t, e)
			stop := func() {}
			defer func() { stop() }()
			s.Say = func(text string) {
				if text == "making the lifted data" {
					stop = supervise(e)
					testkit.Eventually(t, 20*time.Second, "etcd waits for its database", func() (bool, string) {
						return opened(e), "it has not opened it"
					})
				}
			}
			s.Start = func(context.Context) error { return nil } // the supervisor does
			done, err := s.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, 20*time.Second, "etcd serves the lifted data", func() (bool, string) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				now, err := e.Client().Get(ctx, "a")
				if err != nil {
					return false, err.Error()
				}
				return now.Header.Revision >= floor, fmt.Sprintf("cluster %x is at revision %d", now.Header.ClusterId, now.Header.Revision)
			})
			mustBeLifted(t, e.Client(), before, floor)
			old, err := Inspect(done.Kept)
			if err != nil || old.Revision != kv.Revision(before.Header.Revision) || old.ClusterID != before.Header.ClusterId {
				t.Errorf("kept: %+v, %v", old, err)
			}
		})
	}
}

// A raise that is cut off between the old data and the new leaves a file in the
// data's place, on which no etcd starts; that file, and what was said before, has
// the command that goes back, whatever the directory is called.
func TestSwapCutOff(t *testing.T) {
	e := testkit.StartEtcd(t, testkit.DataDir(filepath.Join(t.TempDir(), "my etcd's; $data")))
	fill(t, e.Client(), 50)
	before := everything(t, e.Client())
	s := swapOf(t, e)
	said := make(chan string, 10)
	s.Say = func(text string) { said <- text }
	var done Swapped
	var err error
	ended := make(chan struct{})
	go func() { defer close(ended); done, err = s.Run(t.Context()) }()
	member, cut := filepath.Join(s.DataDir, "member"), filepath.Join(t.TempDir(), "cut off")
	testkit.Eventually(t, 20*time.Second, "a file stands in the place of the data", func() (bool, string) {
		info, err := os.Stat(member)
		return err == nil && info.Mode().IsRegular(), fmt.Sprint(info, err)
	})
	if err := os.CopyFS(cut, os.DirFS(s.DataDir)); err != nil {
		t.Fatal(err)
	}
	if <-ended; err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(cut, "member"))
	if err != nil || !strings.Contains(string(text), s.GoBack(done)) {
		t.Fatalf("the file says\n%s%v\nwant %s", text, err, s.GoBack(done))
	}
	told := false
	for close(said); len(said) > 0; {
		told = strings.Contains(<-said, s.GoBack(done)) || told
	}
	if !told {
		t.Error("the way back was not said before")
	}
	goBack := func(dir, command string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		old, err := Inspect(dir)
		if err != nil || old.Revision != kv.Revision(before.Header.Revision) || old.ClusterID != before.Header.ClusterId {
			t.Errorf("after %s: %+v, %v", command, old, err)
		}
	}
	// Too early, or once too often, it moves nothing.
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", s.GoBack(Swapped{Kept: filepath.Join(t.TempDir(), "none")})).CombinedOutput(); err == nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(member); err != nil {
		t.Errorf("the place of the data: %v", err)
	}
	there := s
	there.DataDir = cut
	goBack(cut, there.GoBack(Swapped{Kept: filepath.Join(cut, filepath.Base(done.Kept))}))
	// And after one that went through.
	e.Kill()
	goBack(s.DataDir, s.GoBack(done))
}

// The way back may be cut off between its steps, and is right when it is run again.
func TestGoBackCutOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's data")
	kept := filepath.Join(dir, "before-floor-x")
	for _, d := range []string{filepath.Join(dir, "member", "snap"), filepath.Join(kept, "member", "wal")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	back := GoBack(dir, kept)
	first := strings.TrimSpace(back[:strings.LastIndex(back, "&&")])
	for _, command := range []string{first, first, back} {
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "member", "wal")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(kept, "lifted", "snap")); err != nil {
		t.Error(err)
	}
}

// Who runs it while the raise still does is told that the old data is in place.
func TestGoBackWhileARaiseRuns(t *testing.T) {
	e := testkit.StartEtcd(t)
	fill(t, e.Client(), 50)
	s := swapOf(t, e)
	member := filepath.Join(s.DataDir, "member")
	went := make(chan error, 1)
	s.Say = func(text string) {
		_, back, ok := strings.Cut(text, "with etcd stopped: ")
		if !ok {
			return
		}
		go func() {
			for {
				if info, err := os.Lstat(member); err == nil && info.Mode().IsRegular() {
					went <- exec.CommandContext(t.Context(), "sh", "-c", back).Run()
					return
				}
			}
		}()
	}
	_, err := s.Run(t.Context())
	if err := <-went; err != nil {
		t.Fatal(err)
	}
	if err == nil || strings.Contains(remedy.Of(err), "neither") {
		t.Errorf("%v\n%s", err, remedy.Of(err))
	}
	if !isDir(filepath.Join(member, "wal")) {
		t.Error("the old data is not in place")
	}
}

// Where the stop command runs on after it was interrupted, etcd is started when
// it has ended, and nobody says that it runs unless it does.
func TestSwapInterruptedWhileStopping(t *testing.T) {
	for name, starts := range map[string]bool{"it is started again": true, "it is not": false} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && !starts {
				t.Skip("waits for an etcd that does not come")
			}
			e := testkit.StartEtcd(t)
			s := swapOf(t, e)
			ctx, cancel := context.WithCancel(t.Context())
			s.Stop = func(ctx context.Context) error {
				cancel() // Ctrl-C, while the command is under way
				if err := ctx.Err(); err != nil {
					return err
				}
				return end(e, syscall.SIGTERM)(ctx)
			}
			if !starts {
				s.Start, s.Patience = func(context.Context) error { return nil }, 10*time.Second
			}
			_, err := s.Run(ctx)
			if got := strings.Contains(remedy.Of(err), "etcd runs again"); !errors.Is(err, context.Canceled) || got != starts || e.Running(0) != starts {
				t.Errorf("%v: %s\nrunning: %v", err, remedy.Of(err), e.Running(0))
			}
		})
	}
}

// opened reports whether the etcd's process has its database open, whether it
// holds the lock or waits for it.
func opened(e *testkit.Etcd) bool {
	dir := fmt.Sprintf("/proc/%d/fd", e.Pids()[0])
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if to, _ := os.Readlink(dir + "/" + f.Name()); strings.HasSuffix(to, "/member/snap/db") {
			return true
		}
	}
	return err != nil && e.Running(0) // not to be seen here: enough that it runs
}
