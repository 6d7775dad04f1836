package main

import (
	"context"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
)

// ceiling is the bare moving of bytes: paged reads, and transactions of 128
// puts. It looks at nothing, keeps no order and no checkpoint, and compares
// nothing. The best of a few settings counts.
type ceiling struct {
	task          string
	page, writers int
}

func (c ceiling) String() string {
	if c.writers == 0 {
		return fmt.Sprintf("ceiling, pages of %d", c.page)
	}
	return fmt.Sprintf("ceiling, pages of %d, %d writers", c.page, c.writers)
}

var (
	copyCeilings = []ceiling{
		{"ceiling copy", 1000, 4}, {"ceiling copy", 1000, 8}, {"ceiling copy", 1000, 16},
		{"ceiling copy", 5000, 4}, {"ceiling copy", 5000, 8}, {"ceiling copy", 5000, 16},
	}
	readCeilings = []ceiling{{"ceiling read", 1000, 0}, {"ceiling read", 5000, 0}}
)

func (b *bench) startCeiling(c ceiling, primary, standby *etcdproc.Cluster) (*child, error) {
	return b.self("ceiling", order{Task: c.task, Primary: primary.Endpoints(), Standby: standby.Endpoints(), Page: c.page, Writers: c.writers})
}

// ceilingCopy copies the primary's keys to the standby.
func ceilingCopy(ctx context.Context, o order) error {
	primary, standby, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer primary.Close()
	defer standby.Close()
	pages := make(chan *clientv3.GetResponse, 1)
	read := make(chan error, 1)
	go func() {
		defer close(pages)
		read <- readPages(ctx, primary.Client, o.Page, func(page *clientv3.GetResponse) { pages <- page })
	}()
	w := newPutter(ctx, standby.Client, o.Writers)
	for page := range pages {
		for _, p := range page.Kvs {
			if err == nil {
				err = w.put(string(p.Key), string(p.Value))
			}
		}
	}
	if err2 := w.close(); err == nil {
		err = err2
	}
	if err == nil {
		err = <-read
	}
	return err
}

// ceilingRead reads both sides at once.
func ceilingRead(ctx context.Context, o order) error {
	primary, standby, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer primary.Close()
	defer standby.Close()
	var both sync.WaitGroup
	var keys [2]int
	var errs [2]error
	for i, client := range []*clientv3.Client{primary.Client, standby.Client} {
		both.Go(func() {
			errs[i] = readPages(ctx, client, o.Page, func(page *clientv3.GetResponse) { keys[i] += len(page.Kvs) })
		})
	}
	both.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	fmt.Printf("{\"keys\":%d}\n", keys[0]+keys[1])
	return nil
}

// readPages reads all keys below the prefix at one revision.
func readPages(ctx context.Context, client *clientv3.Client, page int, visit func(*clientv3.GetResponse)) error {
	next, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	var revision int64
	for {
		resp, err := client.Get(ctx, next, clientv3.WithRange(end), clientv3.WithLimit(int64(page)), clientv3.WithRev(revision))
		if err != nil {
			return err
		}
		visit(resp)
		if !resp.More {
			return nil
		}
		revision = resp.Header.Revision
		next = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}
