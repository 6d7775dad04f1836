// Package checker judges a replica from outside: it reads both etcds by itself
// and shares no code with what it judges, so that an error there cannot hide
// itself here.
package checker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// CheckpointKey is where a destination says how far it has come.
const CheckpointKey = "/understudy/checkpoint"

// pageSize is the number of keys per read.
const pageSize = 1000

var (
	// ErrNoCheckpoint means that the destination has none.
	ErrNoCheckpoint = errors.New("destination has no checkpoint")
	// ErrCopying means that its checkpoint says "copying", which claims nothing.
	ErrCopying = errors.New("destination is being copied to and claims no revision")
)

// Checkpoint is what a destination claims: all of the source up to SourceRevision.
type Checkpoint struct {
	SourceRevision int64  `json:"sourceRevision"`
	Phase          string `json:"phase"`
	// ModRevision is the destination's revision that wrote the claim.
	ModRevision int64 `json:"-"`
	// Raw is the whole value.
	Raw []byte `json:"-"`
}

// ReadCheckpoint reads the claim of a destination.
func ReadCheckpoint(ctx context.Context, dst *clientv3.Client) (Checkpoint, error) {
	resp, err := dst.Get(ctx, CheckpointKey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return Checkpoint{}, ErrNoCheckpoint
	}
	cp := Checkpoint{ModRevision: resp.Kvs[0].ModRevision, Raw: resp.Kvs[0].Value}
	if err := json.Unmarshal(cp.Raw, &cp); err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint %q: %w", cp.Raw, err)
	}
	if cp.Phase == "copying" {
		return Checkpoint{}, ErrCopying
	}
	if cp.SourceRevision <= 0 {
		return Checkpoint{}, fmt.Errorf("checkpoint %q names no source revision", cp.Raw)
	}
	return cp, nil
}

// Kind is how one key differs.
type Kind string

// Kinds of difference.
const (
	Missing   Kind = "missing"   // only the source has the key
	Surplus   Kind = "surplus"   // only the destination has it
	Differing Kind = "differing" // the values are not the same
)

// Difference is one key on which the sides disagree. The values are
// normalised, and nil on the side that lacks the key.
type Difference struct {
	Key                 string
	Kind                Kind
	Source, Destination []byte
}

func (d Difference) String() string {
	return fmt.Sprintf("%s %s (source %s, destination %s)", d.Kind, d.Key, brief(d.Source), brief(d.Destination))
}

// Side is where a value was read.
type Side int

// Sides.
const (
	Source Side = iota
	Destination
)

// Options change what counts as equal. The zero Options compare raw bytes.
type Options struct {
	// Ignore leaves keys out of the comparison, on both sides.
	Ignore func(key string) bool
	// Out leaves a value out that takes no part, where the key alone does not tell.
	Out func(side Side, key string, value []byte) bool
	// Normalize turns a value into what is compared, such as its plain text.
	Normalize func(side Side, key string, value []byte) ([]byte, error)
}

// Equal compares all keys below prefix, the source at srcRev with the
// destination at dstRev; 0 is the revision of the moment. No difference means
// equal. Differences come in key order.
func Equal(ctx context.Context, src, dst *clientv3.Client, prefix string, srcRev, dstRev int64, opts Options) ([]Difference, error) {
	a := &cursor{client: src, side: Source, next: prefix, end: clientv3.GetPrefixRangeEnd(prefix), rev: srcRev, opts: opts}
	b := &cursor{client: dst, side: Destination, next: prefix, end: clientv3.GetPrefixRangeEnd(prefix), rev: dstRev, opts: opts}
	var found []Difference
	for {
		if err := errors.Join(a.fill(ctx), b.fill(ctx)); err != nil {
			return nil, err
		}
		switch ka, kb := a.head(), b.head(); {
		case ka == nil && kb == nil:
			return found, nil
		case kb == nil || ka != nil && ka.key < kb.key:
			found = append(found, Difference{Key: ka.key, Kind: Missing, Source: ka.value})
			a.pop()
		case ka == nil || kb.key < ka.key:
			found = append(found, Difference{Key: kb.key, Kind: Surplus, Destination: kb.value})
			b.pop()
		default:
			if !bytes.Equal(ka.value, kb.value) {
				found = append(found, Difference{Key: ka.key, Kind: Differing, Source: ka.value, Destination: kb.value})
			}
			a.pop()
			b.pop()
		}
	}
}

// EqualAtCheckpoint compares the source at the revision that the destination
// claims to have with the destination at the moment it claimed it.
func EqualAtCheckpoint(ctx context.Context, src, dst *clientv3.Client, prefix string, opts Options) (Checkpoint, []Difference, error) {
	cp, err := ReadCheckpoint(ctx, dst)
	if err != nil {
		return cp, nil, err
	}
	found, err := Equal(ctx, src, dst, prefix, cp.SourceRevision, cp.ModRevision, opts)
	return cp, found, err
}

// cursor walks one side in key order at one revision, a page at a time.
type cursor struct {
	client    *clientv3.Client
	side      Side
	next, end string
	rev       int64
	opts      Options
	page      []item
	done      bool
}

type item struct {
	key   string
	value []byte
}

func (c *cursor) head() *item {
	if len(c.page) == 0 {
		return nil
	}
	return &c.page[0]
}

func (c *cursor) pop() { c.page = c.page[1:] }

// fill reads on until the page has something to compare or the side is at its end.
func (c *cursor) fill(ctx context.Context) error {
	for len(c.page) == 0 && !c.done {
		resp, err := c.client.Get(ctx, c.next, clientv3.WithRange(c.end), clientv3.WithLimit(pageSize), clientv3.WithRev(c.rev))
		if err != nil {
			return fmt.Errorf("read %s at revision %d: %w", [...]string{"source", "destination"}[c.side], c.rev, err)
		}
		if c.rev == 0 {
			c.rev = resp.Header.Revision
		}
		c.done = !resp.More
		for _, kv := range resp.Kvs {
			key, value := string(kv.Key), kv.Value
			c.next = key + "\x00"
			if c.opts.Ignore != nil && c.opts.Ignore(key) {
				continue
			}
			if c.opts.Out != nil && c.opts.Out(c.side, key, value) {
				continue
			}
			if c.opts.Normalize != nil {
				if value, err = c.opts.Normalize(c.side, key, value); err != nil {
					return fmt.Errorf("normalise %s: %w", key, err)
				}
			}
			c.page = append(c.page, item{key, value})
		}
	}
	return nil
}

// brief shows a short value, or the length and hash of a long one.
func brief(value []byte) string {
	switch {
	case value == nil:
		return "none"
	case len(value) <= 60:
		return fmt.Sprintf("%q", value)
	default:
		return fmt.Sprintf("%d bytes, sha256 %.8x", len(value), sha256.Sum256(value))
	}
}
