// Package source reads one etcd: all keys of a range at one revision, and then
// every change after it.
//
// It only reads. It never retries: every error reaches the caller, who decides
// whether to continue from the revision it has, or to begin again.
package source

import "errors"

var (
	// ErrCompacted means that the asked revision is no longer kept. What
	// happened between it and the oldest kept revision cannot be read any more.
	ErrCompacted = errors.New("revision has been compacted")
	// ErrFuture means that the cluster has not reached the asked revision: it
	// is another cluster, or it was rolled back.
	ErrFuture = errors.New("revision is in the future")
	// ErrSilent means that a watch stayed silent beyond its deadline although
	// progress was asked for: the connection is half open or the member is cut off.
	ErrSilent = errors.New("the watch is silent")
)
