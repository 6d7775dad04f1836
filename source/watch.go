package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/understudy-dr/understudy/kv"
)

const (
	// progressEvery is how often a watch asks how far it is.
	progressEvery = time.Second
	// silentAfter is how long a watch may answer nothing at all.
	silentAfter = 10 * time.Second
	// maxMessage bounds one fragment, which holds at least one whole event.
	// Without it gRPC's 4 MiB would count, and a larger value end every watch.
	maxMessage = 64 << 20
)

// Events is what a watch delivers at once: all changes of one or more whole
// revisions in order, or none and only progress.
type Events struct {
	Changes []kv.Change
	// Through is the revision up to which every change has been delivered.
	Through kv.Revision
	// whole: everything that the server had up to its revision known has been
	// delivered. The server is one member, which may lag behind the cluster.
	whole bool
	known kv.Revision
}

// Span is what a watch covers.
type Span struct {
	Begin, End string      // the keys in [Begin, End)
	From       kv.Revision // the first revision
	// IgnoreProgress makes only changes count for Events.Through, for an etcd
	// whose progress notifications cannot be trusted.
	IgnoreProgress bool
}

// Watch delivers every change in the span, in order and without a gap, until
// its context ends or an error says why not. It calls deliver from one
// goroutine and waits for it, so a slow caller slows the stream down instead of
// filling memory: etcd's own Go watcher queues without limit, which is why
// Watch speaks the protocol itself.
//
// All changes of one revision arrive in one call. Progress is asked for every
// second; a stream that answers nothing for ten is given up with ErrSilent. A
// member that has lost its leader ends the stream (etcd's "require leader").
func Watch(caller context.Context, client *clientv3.Client, span Span, deliver func(Events) error) error {
	return watch(caller, client, span, 0, deliver)
}

// watch is Watch; where enough is not 0, it is told to send no further batch
// after the first that holds everything up to that revision. Until etcd is told,
// it reads batch after batch for a watch that has to catch up.
func watch(caller context.Context, client *clientv3.Client, span Span, enough kv.Revision, deliver func(Events) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(caller))
	defer cancel()
	stream, err := pb.NewWatchClient(client.ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(maxMessage))
	if err != nil {
		return watchError(caller, err)
	}
	// The server answers no request for progress while a watch waits for a
	// revision to come (mvcc/watchable_store.go, progressIfSync). So the watch
	// begins at the revision before, whose changes are left out below.
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(span.Begin), RangeEnd: []byte(span.End), StartRevision: int64(max(1, span.From-1)), Fragment: true, ProgressNotify: true,
	}}})
	if err != nil {
		return watchError(caller, err)
	}
	received := make(chan *pb.WatchResponse)
	ended := make(chan error, 1)
	go func() {
		defer close(received)
		for {
			resp, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case received <- resp:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
	}()
	err = pump(ctx, stream, received, span, enough, deliver)
	cancel()
	for range received { //nolint:revive // waits for the receiver
	}
	if reason := <-ended; errors.Is(err, errStreamEnded) {
		err = watchError(caller, reason)
	}
	return err
}

var errStreamEnded = errors.New("stream ended")

func pump(ctx context.Context, stream pb.Watch_WatchClient, received <-chan *pb.WatchResponse, span Span, enough kv.Revision, deliver func(Events) error) error {
	parts := assembler{from: span.From}
	through := span.From - 1
	_ = stream.Send(progressRequest()) // answered as soon as the watch has caught up
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	heard := time.Now()
	for {
		select {
		case <-tick.C:
			if time.Since(heard) > silentAfter {
				return fmt.Errorf("watch from revision %d: %w for %s", through+1, ErrSilent, silentAfter)
			}
			if err := stream.Send(progressRequest()); err != nil {
				tick.Stop() // what has arrived still counts; Recv will say why it ended
			}
		case resp, open := <-received:
			if !open {
				return errStreamEnded
			}
			heard = time.Now()
			if resp.Canceled || resp.CompactRevision != 0 {
				return cancelled(resp, through)
			}
			if resp.Created {
				continue
			}
			if enough != 0 && len(resp.Events) > 0 && kv.Revision(resp.Header.Revision) >= enough {
				enough = 0
				if err := stream.Send(cancelRequest(resp.WatchId)); err != nil {
					tick.Stop() // as below
				}
			}
			events, whole := parts.add(resp)
			if !whole {
				continue
			}
			events.whole, events.known = len(resp.Events) > 0 && !resp.Fragment, kv.Revision(resp.Header.Revision)
			if len(events.Changes) == 0 && (events.Through <= through || span.IgnoreProgress) {
				events.Through = through
			}
			if err := deliver(events); err != nil {
				return err
			}
			through = events.Through
			heard = time.Now() // deliver may have taken its time
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func progressRequest() *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
}

func cancelRequest(id int64) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}}
}

// assembler joins the fragments of a response that was too large for one
// message, revision by revision: a watch that catches up gets up to 1,000
// revisions in one response, which may be gigabytes.
type assembler struct {
	from    kv.Revision // changes before it are left out
	changes []kv.Change
}

// add returns the changes of revisions that are whole by now, and false where
// there are none yet.
func (a *assembler) add(resp *pb.WatchResponse) (Events, bool) {
	for _, e := range resp.Events {
		if c := toChange(e); c.Revision >= a.from {
			a.changes = append(a.changes, c)
		}
	}
	changes := a.changes
	a.changes = nil
	if resp.Fragment { // the last revision may go on in the next one
		n := len(changes)
		for n > 0 && changes[n-1].Revision == changes[len(changes)-1].Revision {
			n--
		}
		changes, a.changes = changes[:n:n], slices.Clone(changes[n:])
		if n == 0 {
			return Events{}, false
		}
	}
	if n := len(changes); n > 0 {
		// The header is the store's revision, which may be ahead of what has
		// been delivered while a watch catches up.
		return Events{Changes: changes, Through: changes[n-1].Revision}, true
	}
	if len(resp.Events) > 0 {
		return Events{Through: a.from - 1}, true
	}
	return Events{Through: kv.Revision(resp.Header.Revision)}, true
}

func toChange(e *mvccpb.Event) kv.Change {
	return kv.Change{
		Key:      string(e.Kv.Key),
		Value:    e.Kv.Value,
		Delete:   e.Type == mvccpb.DELETE,
		Created:  e.Type == mvccpb.PUT && e.Kv.CreateRevision == e.Kv.ModRevision,
		Revision: kv.Revision(e.Kv.ModRevision),
	}
}

func cancelled(resp *pb.WatchResponse, through kv.Revision) error {
	if resp.CompactRevision != 0 {
		return fmt.Errorf("watch from revision %d, oldest kept is %d: %w", through+1, resp.CompactRevision, ErrCompacted)
	}
	for _, known := range []error{rpctypes.ErrPermissionDenied, rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrNoLeader} {
		if strings.Contains(resp.CancelReason, rpctypes.ErrorDesc(known)) {
			return fmt.Errorf("watch from revision %d was cancelled: %w", through+1, rpctypes.Error(known))
		}
	}
	return fmt.Errorf("watch from revision %d was cancelled by the server: %q", through+1, resp.CancelReason)
}

func watchError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("watch: %w", rpctypes.Error(err))
}
