package source

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dr/understudy/kv"
)

const (
	// pageBytes is what a page aims at. Larger pages cost memory on both ends,
	// smaller ones cost the server a walk over its index for each.
	pageBytes = 4 << 20
	// firstLimit is the page size in keys while the size of values is unknown.
	firstLimit = 500
	maxLimit   = 10_000
)

// Cursor reads all pairs of a range in key order at one pinned revision, one
// page ahead of its caller. It holds at most three pages of about 4 MiB.
//
// A Cursor is for one goroutine; Close releases it, also after an error.
type Cursor struct {
	client   *clientv3.Client
	revision kv.Revision
	pages    chan page
	cancel   context.CancelFunc

	current []kv.Pair
	at      int
	err     error
	ended   error // why the read ended before its end; set before pages is closed
}

type page struct {
	pairs []kv.Pair
	err   error
}

// Open pins a revision and begins to read the keys in [begin, end) at it. With
// rev 0 that is the newest revision, by a linearizable read.
//
// It returns ErrCompacted where rev is no longer kept and ErrFuture where the
// cluster has not reached it.
func Open(ctx context.Context, client *clientv3.Client, begin, end string, rev kv.Revision) (*Cursor, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &Cursor{client: client, revision: rev, cancel: cancel, pages: make(chan page, 1)}
	walk := &walk{client: client, next: begin, end: end, revision: rev, limit: firstLimit}
	first, err := walk.page(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	c.revision, c.current = walk.revision, first
	go c.read(ctx, walk)
	return c, nil
}

// Revision is the revision that all pairs are read at.
func (c *Cursor) Revision() kv.Revision { return c.revision }

// Next returns the next pair, and false after the last one.
func (c *Cursor) Next() (kv.Pair, bool, error) {
	for c.at == len(c.current) {
		if c.err != nil {
			return kv.Pair{}, false, c.err
		}
		p, open := <-c.pages
		if !open {
			c.err = c.ended
			if c.err == nil {
				return kv.Pair{}, false, nil
			}
			continue
		}
		c.current, c.at, c.err = p.pairs, 0, p.err
	}
	pair := c.current[c.at]
	c.current[c.at] = kv.Pair{} // let go of the value as soon as the caller does
	c.at++
	return pair, true, nil
}

// Close ends the read and waits for its goroutine.
func (c *Cursor) Close() {
	c.cancel()
	for range c.pages { //nolint:revive // drains until the reader has ended
	}
}

func (c *Cursor) read(ctx context.Context, w *walk) {
	defer close(c.pages)
	for !w.done {
		pairs, err := w.page(ctx)
		select {
		case c.pages <- page{pairs, err}:
		case <-ctx.Done():
			c.ended = ctx.Err()
			return
		}
		if err != nil {
			c.ended = err
			return
		}
	}
}

// walk is the position of a paged read.
//
// etcd counts all keys that remain in the asked range for every page, so
// asking for "the rest" makes a long read quadratic. A page that ended inside
// a directory ("/registry/secrets/prod/") therefore asks next only for the rest
// of that directory.
type walk struct {
	client    *clientv3.Client
	next, end string
	directory string // end of the directory being read; "" = none
	revision  kv.Revision
	limit     int64
	done      bool
}

func (w *walk) page(ctx context.Context) ([]kv.Pair, error) {
	for {
		until := w.end
		if w.directory != "" {
			until = w.directory
		}
		resp, err := w.client.Get(ctx, w.next, clientv3.WithRange(until),
			clientv3.WithLimit(w.limit), clientv3.WithRev(int64(w.revision)))
		if tooLarge(err) && w.limit > 1 {
			w.limit = max(1, w.limit/4)
			continue
		}
		if err != nil {
			return nil, readError(err, w.revision)
		}
		if w.revision == 0 {
			w.revision = kv.Revision(resp.Header.Revision)
		}
		pairs, bytes := toPairs(resp)
		w.advance(pairs, resp.More, until)
		w.limit = nextLimit(w.limit, len(pairs), bytes)
		if len(pairs) > 0 || w.done {
			return pairs, nil
		}
	}
}

// advance moves past a page that asked for keys before until.
func (w *walk) advance(pairs []kv.Pair, more bool, until string) {
	switch {
	case more:
		last := pairs[len(pairs)-1].Key
		w.next = kv.Next(last)
		if dir := sharedDirectory(pairs[0].Key, last); dir != "" {
			if end := kv.PrefixEnd(dir); before(end, w.end) {
				w.directory = end
			}
		}
	case w.directory != "":
		w.next, w.directory = until, ""
		w.limit = min(w.limit, firstLimit) // the next directory may hold larger values
	default:
		w.done = true
	}
}

// before reports whether the range end a lies before the range end b, where
// "\x00" is the end of everything.
func before(a, b string) bool { return b == "\x00" || (a != "\x00" && a < b) }

// sharedDirectory is the longest prefix of both keys that ends in a slash.
func sharedDirectory(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:strings.LastIndexByte(a[:n], '/')+1]
}

func nextLimit(limit int64, pairs, bytes int) int64 {
	if pairs == 0 {
		return limit
	}
	fit := int64(pageBytes / max(1, bytes/pairs))
	return max(1, min(fit, 4*limit, maxLimit))
}

func toPairs(resp *clientv3.GetResponse) (pairs []kv.Pair, bytes int) {
	pairs = make([]kv.Pair, len(resp.Kvs))
	for i, p := range resp.Kvs {
		pairs[i] = toPair(p)
		bytes += len(p.Key) + len(p.Value)
	}
	return pairs, bytes
}

func toPair(p *mvccpb.KeyValue) kv.Pair {
	return kv.Pair{
		Key: string(p.Key), Value: p.Value,
		CreateRevision: kv.Revision(p.CreateRevision), ModRevision: kv.Revision(p.ModRevision),
	}
}

func readError(err error, rev kv.Revision) error {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("read at revision %d: %w", rev, ErrCompacted)
	case errors.Is(err, rpctypes.ErrFutureRev):
		return fmt.Errorf("read at revision %d: %w", rev, ErrFuture)
	}
	return fmt.Errorf("read a page: %w", err)
}

// tooLarge reports whether a page was refused because it would exceed the
// client's limit for one message.
func tooLarge(err error) bool {
	return status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}

// Each reads a range at one revision, 0 = now, and visits every pair in order.
func Each(ctx context.Context, client *clientv3.Client, begin, end string, rev kv.Revision, visit func(kv.Pair) error) error {
	c, err := Open(ctx, client, begin, end, rev)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		p, ok, err := c.Next()
		if err != nil || !ok {
			return err
		}
		if err := visit(p); err != nil {
			return err
		}
	}
}
