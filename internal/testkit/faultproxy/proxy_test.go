package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo runs a server that sends back what it gets, and a proxy before it.
func echo(t *testing.T) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	p, err := New("tcp://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// exchange sends n bytes and waits for as many.
func exchange(c net.Conn, n int, patience time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	sent := bytes.Repeat([]byte("x"), n)
	if _, err := c.Write(sent); err != nil {
		return err
	}
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return errors.New("other bytes came back")
	}
	return nil
}

func TestForwards(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	if err := exchange(c, 3_000_00, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if p.Connections() != 1 || p.Accepted() != 1 || p.Bytes(ToServer) != 300_000 || p.Bytes(Both) != 600_000 {
		t.Fatalf("%d open, %d accepted, %d and %d bytes", p.Connections(), p.Accepted(), p.Bytes(ToServer), p.Bytes(Both))
	}
}

func TestCutClosesAndRefusesUntilRestored(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	if err := exchange(c, 10, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if err := exchange(c, 10, 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("exchange on a cut connection: %v", err)
	}
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial while cut: %v", err)
	}
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	if err := exchange(dial(t, p), 10, 5*time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestBlackholeIsSilentInOneDirection(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	if err := exchange(c, 10, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	p.Blackhole(ToClient)
	before := p.Bytes(ToServer)
	if err := exchange(c, 10, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("exchange with a half-open connection: %v, want silence", err)
	}
	if p.Bytes(ToServer) != before+10 {
		t.Fatal("the other direction is closed as well")
	}
	if err := exchange(dial(t, p), 10, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("exchange on a new connection: %v, want silence", err)
	}
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	if err := exchange(c, 10, 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("exchange on a connection with a gap: %v, want it reset", err)
	}
	if err := exchange(dial(t, p), 10, 5*time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestDelayAndThrottle(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Delay(100 * time.Millisecond)
	start := time.Now()
	if err := exchange(c, 10, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Fatalf("a round trip took %s with 100 ms each way", took)
	}
	p.Delay(0)
	p.Throttle(100_000)
	start = time.Now()
	if err := exchange(c, 50_000, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Fatalf("50 kB took %s at 100 kB/s", took)
	}
}

func TestResets(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.ResetAfter(1000)
	if err := exchange(c, 400, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := exchange(c, 400, 5*time.Second); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("exchange beyond the limit: %v", err)
	}
	p.RandomResets(1, 10_000)
	torn := 0
	for range 20 {
		if exchange(dial(t, p), 5_000, 5*time.Second) != nil {
			torn++
		}
	}
	if torn == 0 || torn == 20 {
		t.Fatalf("%d of 20 connections torn", torn)
	}
}

func TestDropNextReplyOnAnyProtocol(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	if err := exchange(c, 10, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	before := p.Bytes(ToServer)
	dropped := p.DropNextReply("")
	if err := exchange(c, 10, 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("exchange: %v, want a reset", err)
	}
	<-dropped
	if p.Bytes(ToServer) != before+10 {
		t.Fatal("the request did not get through")
	}
	if err := exchange(dial(t, p), 10, 5*time.Second); err != nil {
		t.Fatalf("only one reply is dropped: %v", err)
	}
}
