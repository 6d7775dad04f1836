package main

import (
	"context"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxOps is etcd's default limit for one transaction.
const maxOps = 128

// putter writes pairs in transactions of 128 puts, several at a time.
type putter struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	ops    []clientv3.Op
	work   chan []clientv3.Op
	wg     sync.WaitGroup
}

func newPutter(ctx context.Context, client *clientv3.Client, writers int) *putter {
	p := &putter{work: make(chan []clientv3.Op)}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	for range writers {
		p.wg.Go(func() {
			for ops := range p.work {
				if _, err := client.Txn(p.ctx).Then(ops...).Commit(); err != nil {
					p.cancel(err)
				}
			}
		})
	}
	return p
}

// put hands on one pair; it blocks while all writers are busy.
func (p *putter) put(key, value string) error {
	if p.ops = append(p.ops, clientv3.OpPut(key, value)); len(p.ops) < maxOps {
		return nil
	}
	return p.flush()
}

func (p *putter) flush() error {
	ops := p.ops
	p.ops = make([]clientv3.Op, 0, maxOps)
	select {
	case p.work <- ops:
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}

// close writes what is left and waits for all of it. It is called once.
func (p *putter) close() error {
	var err error
	if len(p.ops) > 0 {
		err = p.flush()
	}
	close(p.work)
	p.wg.Wait()
	if err == nil {
		err = context.Cause(p.ctx)
	}
	p.cancel(nil)
	return err
}
