package source_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/source"
)

func put(t *testing.T, client *clientv3.Client, keys []string, value string) kv.Revision {
	t.Helper()
	var last int64
	for part := range slices.Chunk(keys, 100) {
		var ops []clientv3.Op
		for _, key := range part {
			ops = append(ops, clientv3.OpPut(key, value))
		}
		resp, err := client.Txn(t.Context()).Then(ops...).Commit()
		if err != nil {
			t.Fatal(err)
		}
		last = resp.Header.Revision
	}
	return kv.Revision(last)
}

func readAll(t *testing.T, client *clientv3.Client, begin, end string, rev kv.Revision) []string {
	t.Helper()
	c, err := source.Open(t.Context(), client, begin, end, rev)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var keys []string
	for {
		p, ok, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return keys
		}
		keys = append(keys, p.Key)
	}
}

// However the keys lie in directories, each is read once and in order.
func TestCursorReadsEveryKeyOnceInOrder(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	for name, keys := range map[string][]string{
		"one flat directory": many("/registry/secrets/prod/s-", 1700),
		"large then small then large": slices.Concat(many("/registry/a/x/", 1300), many("/registry/b/", 3),
			many("/registry/c/y/", 900), many("/registry/c/z/", 900), []string{"/registry/d"}),
		"a key that is a prefix of others": slices.Concat([]string{"/registry/a", "/registry/a/"}, many("/registry/a/", 700), []string{"/registry/a0"}),
		"no slash at all":                  many("plain-", 1200),
		"empty":                            nil,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.Delete(t.Context(), "", clientv3.WithPrefix()); err != nil {
				t.Fatal(err)
			}
			put(t, client, keys, "v")
			want := slices.Sorted(slices.Values(keys))
			if got := readAll(t, client, "\x00", "\x00", 0); !slices.Equal(got, want) {
				t.Errorf("read %d keys, want %d", len(got), len(want))
			}
			var below []string
			for _, key := range want {
				if strings.HasPrefix(key, "/registry/") {
					below = append(below, key)
				}
			}
			if got := readAll(t, client, "/registry/", "/registry0", 0); !slices.Equal(got, below) {
				t.Errorf("read %d keys below /registry/, want %d", len(got), len(below))
			}
		})
	}
}

func many(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%06d", prefix, i)
	}
	return keys
}

// What is written after the revision was pinned is not seen.
func TestCursorIsPinned(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	keys := many("/registry/a/b/", 1500)
	rev := put(t, client, keys, "before")
	c, err := source.Open(t.Context(), client, "/registry/", "/registry0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Revision() != rev {
		t.Fatalf("pinned to %d, want %d", c.Revision(), rev)
	}
	put(t, client, slices.Concat(keys, many("/registry/z/", 10)), "after")
	n := 0
	for ; ; n++ {
		p, ok, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if string(p.Value) != "before" || p.ModRevision > rev {
			t.Fatalf("%s = %q @%d was written after %d", p.Key, p.Value, p.ModRevision, rev)
		}
	}
	if n != len(keys) {
		t.Errorf("read %d keys, want %d", n, len(keys))
	}
}

// Pages larger than the client takes are asked for again in smaller parts.
func TestCursorShrinksPagesThatAreTooLarge(t *testing.T) {
	etcd := testkit.StartEtcd(t)
	client := etcd.NewClient(clientv3.Config{MaxCallRecvMsgSize: 1 << 20, MaxCallSendMsgSize: 1 << 20})
	keys := many("/registry/a/b/", 60)
	for _, key := range keys {
		put(t, client, []string{key}, strings.Repeat("x", 200<<10))
	}
	if got := readAll(t, client, "/registry/", "/registry0", 0); !slices.Equal(got, keys) {
		t.Errorf("read %d keys, want %d", len(got), len(keys))
	}
}

func TestOpenNamesRevisionsThatAreGone(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	rev := put(t, client, many("/registry/a/", 3), "v")
	put(t, client, many("/registry/a/", 3), "w")
	if _, err := client.Compact(t.Context(), int64(rev)+1); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Open(t.Context(), client, "/registry/", "/registry0", rev); !errors.Is(err, source.ErrCompacted) {
		t.Errorf("compacted revision: %v, want ErrCompacted", err)
	}
	if _, err := source.Open(t.Context(), client, "/registry/", "/registry0", rev+100); !errors.Is(err, source.ErrFuture) {
		t.Errorf("future revision: %v, want ErrFuture", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Open(ctx, client, "/registry/", "/registry0", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A read that was cancelled must not look like one that has reached its end:
// whoever compares two sides would take the rest for deleted.
func TestCursorDoesNotEndQuietlyWhenCancelled(t *testing.T) {
	client := testkit.StartEtcd(t).Client()
	keys := many("/registry/a/b/", 4000)
	put(t, client, keys, "v")
	ctx, cancel := context.WithCancel(t.Context())
	c, err := source.Open(ctx, client, "/registry/", "/registry0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	for n := 0; ; n++ {
		_, ok, err := c.Next()
		if err != nil {
			if _, again, err := c.Next(); again || err == nil {
				t.Error("the error is forgotten by the next call")
			}
			return
		}
		if !ok && n < len(keys) {
			t.Fatalf("ended without an error after %d of %d keys", n, len(keys))
		}
		if !ok {
			t.Fatal("the cancellation was not noticed")
		}
	}
}
