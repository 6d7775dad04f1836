package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/remedy"
)

// A command that waits for an etcd which says nothing ends at once with 130
// when it is interrupted.
func TestInterrupt(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	file := filepath.Join(t.TempDir(), "pair.yaml")
	side := "{name: NAME, etcd: {endpoints: ['http://" + silent.Addr().String() + "'], dialTimeout: 5m}}\n"
	text := "apiVersion: understudy.dev/v1alpha1\nkind: Pair\nmetadata: {name: p}\n" +
		"primary: " + strings.Replace(side, "NAME", "a", 1) + "standby: " + strings.Replace(side, "NAME", "b", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		if conn, err := silent.Accept(); err == nil {
			accepted <- conn
		}
	}()
	var stdout, stderr bytes.Buffer
	done := make(chan remedy.Code, 1)
	go func() { done <- run([]string{"sync", "--once", "--config", file}, &stdout, &stderr) }()
	select {
	case conn := <-accepted: // the command listens to signals by now
		defer conn.Close()
	case code := <-done:
		t.Fatalf("ended with %d before it was interrupted:\n%s", code, &stderr)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != remedy.Cancelled || !strings.HasPrefix(stderr.String(), "error: interrupted\n") {
		t.Errorf("exit status %d, want %d; stderr:\n%s", code, remedy.Cancelled, &stderr)
	}
}
