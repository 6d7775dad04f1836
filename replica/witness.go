package replica

import (
	"context"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/sink"
	"github.com/understudy-dr/understudy/source"
)

// sparesMax is how many witnesses are kept beside the newest: what comes and goes
// again, one after the other, must not leave the checkpoint without any.
const sparesMax = 3

// witnessesOf are the witnesses after a batch of the primary's changes: the keys
// that were written last and still stand.
func witnessesOf(before sink.Checkpoint, batch []kv.Change) (newest *sink.Witness, spares []sink.Witness) {
	var all []sink.Witness
	if before.Witness != nil {
		all = append([]sink.Witness{*before.Witness}, before.Spares...)
	}
	for _, c := range batch {
		if strings.HasPrefix(c.Key, sink.Root) {
			continue // not the primary's
		}
		all = slices.DeleteFunc(all, func(w sink.Witness) bool { return w.Key == c.Key })
		if !c.Delete {
			all = slices.Insert(all, 0, sink.Witness{Key: c.Key, Revision: c.Revision})
			all = all[:min(len(all), 1+sparesMax)]
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return &all[0], all[1:]
}

// testify asks the primary about the witness of a checkpoint.
func testify(ctx context.Context, primary *clientv3.Client, c sink.Checkpoint) (source.Testimony, error) {
	w := c.Witness
	if w == nil || c.Phase != sink.Streaming {
		return source.Testimony{}, nil
	}
	return source.Testify(ctx, primary, source.At(*w), c.SourceRevision)
}
