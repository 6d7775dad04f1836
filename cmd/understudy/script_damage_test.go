package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/understudy-dr/understudy/console"
)

// damageCommands do to an etcd of one member what failing memory and disks do.
//
//	spoil NAME KEY              write a value back with its middle byte flipped
//	flip NAME OLD NEW           stop it, change bytes in its database file wherever they stand, start it
//	destroy NAME TEXT FILL      stop it, overwrite the pages that hold the text with zeros or noise, and start it;
//	                            it may refuse to. N*C stands for N times C
//	rot NAME TEXT FILL          the same while it runs, and goes on running if it can
//	unprotected                 wait until status says anything but PROTECTED
//	! serves NAME               it has ended by itself
var damageCommands = map[string]func(*testscript.TestScript, bool, []string){
	"spoil":       spoilValue,
	"flip":        flipBytes,
	"destroy":     destroyPages,
	"rot":         rotPages,
	"unprotected": waitUnprotected,
	"serves":      etcdServes,
}

func spoilValue(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "spoil NAME KEY")
	ctx, cancel := bounded()
	defer cancel()
	client := etcdOf(ts, args[0]).Client()
	resp, err := client.Get(ctx, args[1])
	ts.Check(err)
	if len(resp.Kvs) == 0 {
		ts.Fatalf("%s has no %s", args[0], args[1])
	}
	value := resp.Kvs[0].Value
	value[len(value)/2] ^= 0x80
	_, err = client.Put(ctx, args[1], string(value))
	ts.Check(err)
}

func flipBytes(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 3, "flip NAME OLD NEW")
	if len(args[1]) != len(args[2]) {
		ts.Fatalf("%q and %q are not of one length", args[1], args[2])
	}
	path := awaitInDatabase(ts, args[0], args[1])
	etcdOf(ts, args[0]).Kill()
	db, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(db, []byte(args[1]), []byte(args[2])), 0o600))
	restartEtcd(ts, false, args[:1])
}

func destroyPages(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 3, "destroy NAME TEXT zeros|noise")
	text := repeated(ts, args[1])
	path := awaitInDatabase(ts, args[0], text)
	c := etcdOf(ts, args[0])
	c.Kill()
	overwritePages(ts, path, text, args[2])
	ctx, cancel := bounded()
	defer cancel()
	ts.Check(c.Launch())
	if err := c.Ready(ctx); err != nil {
		ts.Logf("%s does not start: %.300s", args[0], err)
	}
}

func rotPages(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 3, "rot NAME TEXT zeros|noise")
	text := repeated(ts, args[1])
	overwritePages(ts, awaitInDatabase(ts, args[0], text), text, args[2])
}

// overwritePages works in place: etcd has the file mapped.
func overwritePages(ts *testscript.TestScript, path, text, with string) {
	fill := make([]byte, os.Getpagesize())
	if with == "noise" {
		for i := range fill {
			fill[i] = byte(i*i*7 + i*31 + 129)
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	ts.Check(err)
	defer file.Close()
	db, err := io.ReadAll(file)
	ts.Check(err)
	for at := 0; at < len(db); at += len(fill) {
		if bytes.Contains(db[at:min(at+len(fill), len(db))], []byte(text)) {
			_, err := file.WriteAt(fill, int64(at))
			ts.Check(err)
		}
	}
}

// repeated is a text, or N times C for N*C.
func repeated(ts *testscript.TestScript, text string) string {
	if m := padded.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		ts.Check(err)
		return strings.Repeat(m[2], n)
	}
	return text
}

func waitUnprotected(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: unprotected")
	}
	untilStatus(ts, "the pair is not protected", func(s console.Status) bool { return s.Verdict != console.Protected })
}

func etcdServes(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, false, args, 1, "[!] serves NAME")
	if c := etcdOf(ts, args[0]); c.Running(0) == neg {
		ts.Fatalf("%s runs: %v", args[0], !neg)
	}
}

// awaitInDatabase waits until a text has reached the database file of an etcd,
// which it does within 100 ms, and returns the file.
func awaitInDatabase(ts *testscript.TestScript, name, text string) (path string) {
	path = filepath.Join(etcdOf(ts, name).DataDir(0), "member", "snap", "db")
	until(ts, fmt.Sprintf("the text is in the database of %s", name), func(context.Context) error {
		db, err := os.ReadFile(path)
		if err == nil && !bytes.Contains(db, []byte(text)) {
			err = fmt.Errorf("%.40q is not in %d bytes", text, len(db))
		}
		return err
	})
	return path
}
