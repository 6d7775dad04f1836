package replica

import (
	"context"
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

// testify asks the primary about the witness of a checkpoint.
func testify(ctx context.Context, primary *clientv3.Client, c sink.Checkpoint) (source.Testimony, error) {
	w := c.Witness
	if w == nil || c.Phase != sink.Streaming {
		return source.Testimony{}, nil
	}
	return source.Testify(ctx, primary, source.At(*w), c.SourceRevision)
}
