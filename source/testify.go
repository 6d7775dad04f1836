package source

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
)

// Testimony is what a cluster says about a key that it is said to have had.
type Testimony struct {
	Denied   bool        // the cluster's past is another one
	Revision kv.Revision // of the key's last write, as the cluster has it; 0 = it is not there
}

// Testify asks a cluster whether it had a key as of its write at w.Revision when
// it was at revision at. A cluster that was restored from an old backup and
// written since did not, whatever its revision is now. Where at is compacted
// away, a key that has not been written since the time of the witness still
// tells; one that has been tells nothing.
func Testify(ctx context.Context, client *clientv3.Client, w At, at kv.Revision) (Testimony, error) {
	then, err := Get(ctx, client, []string{w.Key}, at)
	switch {
	case err == nil && len(then) == 0:
		return Testimony{Denied: true}, nil
	case err == nil:
		return Testimony{Denied: then[0].ModRevision != w.Revision, Revision: then[0].ModRevision}, nil
	case errors.Is(err, ErrFuture): // told by the revisions alone
		return Testimony{}, nil
	case !errors.Is(err, ErrCompacted):
		return Testimony{}, fmt.Errorf("ask the primary for %s at the checkpoint: %w", w.Key, err)
	}
	now, err := Get(ctx, client, []string{w.Key}, 0)
	if err != nil || len(now) == 0 {
		return Testimony{}, err
	}
	return Testimony{Denied: now[0].ModRevision < w.Revision, Revision: now[0].ModRevision}, nil
}
