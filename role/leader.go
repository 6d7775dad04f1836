package role

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// Leader is the leadership of one daemon over replication into a cluster.
type Leader struct {
	session  *concurrency.Session
	election *concurrency.Election
}

// Campaign waits until this daemon leads. ttl is how long a dead leader keeps
// the others waiting, in whole seconds, at least 2.
func Campaign(ctx context.Context, client *clientv3.Client, ttl time.Duration, identity string) (*Leader, error) {
	seconds := max(2, int(ttl/time.Second))
	lease, err := client.Grant(ctx, int64(seconds))
	if err != nil {
		return nil, fmt.Errorf("open a session on the standby: %w", err)
	}
	session, err := concurrency.NewSession(client, concurrency.WithLease(lease.ID),
		concurrency.WithTTL(seconds), concurrency.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, fmt.Errorf("open a session on the standby: %w", err)
	}
	l := &Leader{session: session, election: concurrency.NewElection(session, LeaderDir)}
	elected := make(chan error, 1)
	go func() { elected <- l.election.Campaign(ctx, identity) }()
	select {
	case err = <-elected:
	case <-ctx.Done():
		// Campaign now tries to take its candidacy back for as long as the
		// server is silent. Revoking the lease does that as well; Campaign ends
		// with it, or with the client.
		err = ctx.Err()
	}
	if err != nil {
		l.revoke(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("campaign for the lead: %w", err)
	}
	return l, nil
}

// revoke ends the session, within a second; the lease ends by itself otherwise.
func (l *Leader) revoke(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	l.session.Orphan()
	_, _ = l.session.Client().Revoke(ctx, l.session.Lease())
}

// Lost is closed when the lease can no longer be kept alive. It may come late;
// what protects the standby is the compare in Fence.
func (l *Leader) Lost() <-chan struct{} { return l.session.Done() }

// Fence returns the compares that hold exactly as long as this daemon leads,
// the role is the one given, and nobody has paused replication.
func (l *Leader) Fence(s State) []clientv3.Cmp {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(l.election.Key()), "=", l.election.Rev()),
		clientv3.Compare(clientv3.ModRevision(Key), "=", s.Revision),
		clientv3.Compare(clientv3.CreateRevision(PausedKey), "=", 0),
	}
}

// Resign gives the lead up, so that a successor need not wait for the lease. It
// takes a second longer than ctx at most.
func (l *Leader) Resign(ctx context.Context) error {
	defer l.revoke(ctx)
	if err := l.election.Resign(ctx); err != nil {
		return fmt.Errorf("resign: %w", err)
	}
	return nil
}

// CurrentLeader returns the identity of the daemon that leads, "" where none does.
func CurrentLeader(ctx context.Context, client *clientv3.Client) (string, error) {
	resp, err := client.Get(ctx, LeaderDir+"/", clientv3.WithFirstCreate()...)
	if err != nil {
		return "", fmt.Errorf("read who leads: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return "", nil
	}
	return string(resp.Kvs[0].Value), nil
}

// WriteReport writes a key of Understudy's own if the daemon called identity
// leads, or if none does. false: another one leads, and nothing was written.
func WriteReport(ctx context.Context, client *clientv3.Client, identity, key, value string) (bool, error) {
	leader, err := client.Get(ctx, LeaderDir+"/", clientv3.WithFirstCreate()...)
	if err != nil {
		return false, fmt.Errorf("read who leads: %w", err)
	}
	nobody := clientv3.Compare(clientv3.CreateRevision(LeaderDir+"/").WithPrefix(), "=", 0)
	guard := nobody
	if len(leader.Kvs) > 0 {
		if string(leader.Kvs[0].Value) != identity {
			return false, nil
		}
		guard = clientv3.Compare(clientv3.CreateRevision(string(leader.Kvs[0].Key)), "=", leader.Kvs[0].CreateRevision)
	}
	resp, err := client.Txn(ctx).If(guard).Then(clientv3.OpPut(key, value)).Commit()
	if err != nil {
		return false, fmt.Errorf("write %s: %w", key, err)
	}
	return resp.Succeeded, nil
}
