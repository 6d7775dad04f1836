package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// witnessOf is the witness after a batch of the primary's changes.
func witnessOf(before *sink.Witness, batch []kv.Change) *sink.Witness {
	witness := before
	for _, c := range batch {
		switch {
		case strings.HasPrefix(c.Key, sink.Root): // not the primary's
		case !c.Delete:
			witness = &sink.Witness{Key: c.Key, Revision: c.Revision}
		case witness != nil && witness.Key == c.Key:
			witness = nil
		}
	}
	return witness
}

// Testimony is what the primary says about the checkpoint's witness.
type Testimony struct {
	Denied   bool        // the primary's past is another one than the standby's
	Revision kv.Revision // of the witness' last write, as the primary has it now; 0 = it is not there
}

// testify asks the primary about the witness of a checkpoint. Where the
// checkpoint's revision is compacted away, a key that has not been written since
// the time of the witness still tells; one that has been tells nothing.
func testify(ctx context.Context, primary *clientv3.Client, c sink.Checkpoint) (Testimony, error) {
	w := c.Witness
	if w == nil || c.Phase != sink.Streaming {
		return Testimony{}, nil
	}
	then, err := source.Get(ctx, primary, []string{w.Key}, c.SourceRevision)
	switch {
	case err == nil && len(then) == 0:
		return Testimony{Denied: true}, nil
	case err == nil:
		return Testimony{Denied: then[0].ModRevision != w.Revision, Revision: then[0].ModRevision}, nil
	case errors.Is(err, source.ErrFuture): // told by the revisions alone
		return Testimony{}, nil
	case !errors.Is(err, source.ErrCompacted):
		return Testimony{}, fmt.Errorf("ask the primary for %s at the checkpoint: %w", w.Key, err)
	}
	now, err := source.Get(ctx, primary, []string{w.Key}, 0)
	if err != nil || len(now) == 0 {
		return Testimony{}, err
	}
	return Testimony{Denied: now[0].ModRevision < w.Revision, Revision: now[0].ModRevision}, nil
}
