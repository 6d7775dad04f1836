// Package proc runs the child processes of tests and benchmarks.
//
// A child never outlives its parent, not even one that is killed, and stays
// out of the terminal's process group, so an interrupt reaches the parent
// alone. Its output goes to a file whose end can be read at any time.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopPatience is how long Stop waits after SIGTERM before it kills.
const stopPatience = 10 * time.Second

// Spec says what to run.
type Spec struct {
	Path string
	Args []string
	Env  []string // added to the parent's environment
	Dir  string   // working directory; the parent's if empty
	Log  string   // file that standard output and error are appended to
}

// Process is a running or ended child.
type Process struct {
	spec   Spec
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start runs the program. The caller must Stop or Kill it.
func Start(spec Spec) (*Process, error) {
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Dir = spec.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	p := &Process{spec: spec, cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the *thread* that forked dies. This
		// thread is kept for the child's whole life.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(spec.Path), err)
	}
	return p, nil
}

// Pid is the process ID; after the exit it may belong to another process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed once the process has ended and been waited for.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Running says whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// ExitCode waits for the end and returns the exit status, -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Stop asks the process to end and waits; one that does not is killed.
func (p *Process) Stop() {
	_ = p.Signal(syscall.SIGTERM)
	_ = p.Signal(syscall.SIGCONT) // a stopped process would never see the first
	select {
	case <-p.exited:
	case <-time.After(stopPatience):
		p.Kill()
	}
}

// Pause freezes the process with SIGSTOP: its connections stay open and silent.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (p *Process) Continue() error { return p.Signal(syscall.SIGCONT) }

// Signal sends any signal; an ended process is no error.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// RSS is the resident memory of the process in bytes.
func (p *Process) RSS() (int64, error) { return statusBytes(p.Pid(), "VmRSS:") }

// PeakRSS is the most resident memory the process has ever had, in bytes.
func (p *Process) PeakRSS() (int64, error) { return statusBytes(p.Pid(), "VmHWM:") }

// statusBytes reads a line such as "VmRSS:  1234 kB" of /proc/<pid>/status.
func statusBytes(pid int, field string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == field {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, field)
}

// LogPath is the file that holds the output.
func (p *Process) LogPath() string { return p.spec.Log }

// LogTail returns the last lines of the output.
func (p *Process) LogTail(lines int) string { return Tail(p.spec.Log, lines) }

// Tail returns the last lines of a file, or why it cannot.
func Tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Until polls ready every 20 ms until it returns nil. It gives up, with the
// last error and the end of the log, when the process exits or ctx ends.
func (p *Process) Until(ctx context.Context, ready func(context.Context) error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s exited: %s\n%s", filepath.Base(p.spec.Path), p.cmd.ProcessState, p.LogTail(20))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w\n%s", filepath.Base(p.spec.Path), ctx.Err(), err, p.LogTail(20))
		case <-ticker.C:
		}
	}
}
