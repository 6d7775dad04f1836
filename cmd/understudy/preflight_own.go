package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
)

// largestOutput of a check of one's own is looked at; the rest is dropped.
const largestOutput = 256 << 10

// ownChecks runs access.checks, all at once. What they print or answer may be
// secret: it is matched, and never shown.
func (g *preflight) ownChecks(ctx context.Context) []console.OwnCheck {
	type asked struct {
		check config.AccessCheck
		role  string
		side  config.Cluster
	}
	var all []asked
	for _, c := range g.pair.Access.Checks {
		for _, s := range []asked{{c, "primary", g.pair.Primary}, {c, "standby", g.pair.Standby}} {
			if c.Side == "both" || c.Side == s.role {
				all = append(all, s)
			}
		}
	}
	out := make([]console.OwnCheck, len(all))
	var done sync.WaitGroup
	for i, a := range all {
		done.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, a.check.Timeout.Duration)
			defer cancel()
			out[i] = console.OwnCheck{Name: a.check.Name, Side: a.side.Name}
			if len(a.check.Exec) > 0 {
				out[i].Wrong = runCheckCommand(ctx, a.check, a.role, a.side)
			} else {
				out[i].Wrong = g.askCheckURL(ctx, a.check, a.role, a.side)
			}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				out[i].Wrong = "it took longer than " + a.check.Timeout.String()
			}
		})
	}
	done.Wait()
	return out
}

// runCheckCommand says what is wrong with a command's outcome; "" = nothing.
func runCheckCommand(ctx context.Context, c config.AccessCheck, role string, side config.Cluster) string {
	cmd := exec.CommandContext(ctx, c.Exec[0], c.Exec[1:]...)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_SIDE="+role, "UNDERSTUDY_NAME="+side.Name, "UNDERSTUDY_VIP="+side.VIP, "UNDERSTUDY_KUBECONFIG="+side.Kubeconfig)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	output := &head{}
	cmd.Stdout = output
	err := cmd.Run()
	status := 0
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.ExitCode() >= 0:
		status = ended.ExitCode()
	case err != nil:
		return err.Error()
	}
	if status != c.ExitCode {
		return fmt.Sprintf("exit status %d instead of %d", status, c.ExitCode)
	}
	return matches(c.Match, output.Bytes(), "its output")
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), largestOutput-h.Len())])
	return len(p), nil
}

func matches(pattern string, output []byte, what string) string {
	if pattern == "" || regexp.MustCompile(pattern).Match(output) { // the configuration has compiled it before
		return ""
	}
	return what + " does not match"
}

// askCheckURL says what is wrong with an answer; "" = nothing.
func (g *preflight) askCheckURL(ctx context.Context, c config.AccessCheck, role string, side config.Cluster) string {
	vip := side.VIP
	if strings.Contains(c.HTTP, "{vip}") && vip == "" {
		return "it needs " + role + ".vip"
	}
	if strings.Contains(vip, ":") {
		vip = "[" + vip + "]"
	}
	roots, err := g.roots()
	if err != nil {
		return err.Error()
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	transport.TLSClientConfig.RootCAs = roots
	transport.DialContext = g.dialAt(side.VIP, map[string]string{"primary": g.pair.Access.Addresses.Primary, "standby": g.pair.Access.Addresses.Standby}[role])
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.NewReplacer("{vip}", vip, "{name}", side.Name).Replace(c.HTTP), nil)
	if err != nil {
		return err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) { // whose text has the URL, in which there may be a token
			err = of.Err
		}
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode != c.Status {
		return fmt.Sprintf("HTTP status %d instead of %d", resp.StatusCode, c.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestOutput))
	if err != nil {
		return err.Error()
	}
	return matches(c.Match, body, "the answer")
}
