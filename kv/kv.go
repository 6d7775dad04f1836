// Package kv is the vocabulary that the other packages share: revisions, keys
// with their values, changes, and batches of changes.
//
// It knows nothing of Kubernetes and reaches nothing outside itself.
package kv

import "fmt"

// Revision is a revision of an etcd key space: one number per cluster that
// grows by one with every transaction that writes. 0 means "none".
// Kubernetes shows the same number as resourceVersion.
type Revision int64

// Pair is one key with the value it has at some revision.
//
// The bytes of Value belong to the Pair: whoever hands a Pair on no longer
// writes to them.
type Pair struct {
	Key   string
	Value []byte
	// CreateRevision and ModRevision are the revisions of the key's creation
	// and of its last write, in the cluster that the Pair was read from.
	CreateRevision, ModRevision Revision
}

// Change is one write to one key: a put, or a delete when Delete is set.
type Change struct {
	Key    string
	Value  []byte // nil for a delete
	Delete bool
	// Created: the put created the key, it did not stand there before.
	Created bool
	// Revision is the source revision of the write. In a copy, which has no
	// single revision per write, it is the revision that the copy is pinned to.
	Revision Revision
}

// Size is what the change adds to a request, in bytes, apart from framing.
func (c Change) Size() int { return len(c.Key) + len(c.Value) }

func (c Change) String() string {
	if c.Delete {
		return fmt.Sprintf("delete %s @%d", c.Key, c.Revision)
	}
	return fmt.Sprintf("put %s @%d (%d bytes)", c.Key, c.Revision, len(c.Value))
}
