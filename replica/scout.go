package replica

import (
	"context"
	"maps"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/source"
)

// push adds changes to the queue. Where it is full and a burst waits in it, a
// scout goes ahead meanwhile: the silence of a watch that nobody reads is not the
// end of the burst.
func (s *stream) push(ctx context.Context, q *queue, span source.Span, changes []kv.Change, through kv.Revision) error {
	if q.full() && s.breaker.waits() {
		span.From = through + 1
		s.scout(ctx, q, span)
	}
	return q.push(ctx, changes, through)
}

// scout tells the breaker what the primary wrote in the span, and keeps none of
// it, until the queue has room again; the watch will bring it once more. Where it
// fails, the watch will say why.
func (s *stream) scout(ctx context.Context, q *queue, span source.Span) {
	ctx, cancel := context.WithCancel(ctx)
	ahead := *s // what it learns of marks is no news to the watch
	ahead.ahead, ahead.marked = true, maps.Clone(s.marked)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.askHead(ctx, span)
		_ = source.Follow(ctx, s.primary, span, func(e source.Events) error {
			err := ahead.countAhead(ctx, e.Changes)
			if err == nil {
				s.breaker.heard(e.Through)
			}
			return err
		})
	}()
	q.room(ctx)
	cancel()
	<-ended
}

// askHead tells the breaker how far the primary has written. Where it does not answer
// soon, silence alone says when a burst is over.
func (s *stream) askHead(ctx context.Context, span source.Span) {
	ctx, cancel := context.WithTimeout(ctx, lookBack)
	defer cancel()
	if now, err := s.primary.Get(ctx, span.Begin, clientv3.WithKeysOnly()); err == nil {
		s.breaker.expects(kv.Revision(now.Header.Revision))
	}
}

// countAhead counts what is deleted or marked. What leaves the scope by a put is
// counted when its turn comes.
func (s *stream) countAhead(ctx context.Context, changes []kv.Change) error {
	sights := s.sight(changes)
	s.lookUpMarks(ctx, changes, sights)
	for i, c := range changes {
		if c.Delete {
			if in, err := s.deleteInScope(ctx, c); err != nil {
				return err
			} else if !in {
				continue
			}
		} else if sights[i].err != nil || !sights[i].want.In {
			continue
		}
		if err := s.count(ctx, c, c.Delete || sights[i].want.Meta.Deleting); err != nil {
			return err
		}
	}
	return nil
}
