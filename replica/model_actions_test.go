package replica_test

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/faultproxy"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/sink"
)

// act plays one random action.
func (m *model) act() {
	m.Helper()
	actions := []func(){
		m.restartDaemon, m.restartDaemon, m.restartDaemon,
		m.freezeDaemon,
		m.secondDaemon,
		m.breakLink, m.breakLink, m.breakLink,
		m.loseReply,
		m.compactPrimary, m.compactPrimary,
		m.compactStandby,
		m.killPrimary,
		m.killStandby,
		m.createForeign, m.createForeign,
		m.deleteForeign,
		m.takeOverForeign,
		m.pause,
		m.burst,
	}
	actions[m.random.IntN(len(actions))]()
}

// hold lets a fault last. What it breaks is not waited for here.
func (m *model) hold(d time.Duration) {
	select {
	case <-time.After(d):
	case <-m.Context().Done():
	}
}

func (m *model) upTo(most time.Duration) time.Duration {
	return time.Duration(m.random.Int64N(int64(most)))
}

// takeDaemon picks a daemon that is alive, if there is one.
func (m *model) takeDaemon() (d *proc.Process, name string) {
	m.Helper()
	m.heal()
	d = m.daemons[m.random.IntN(len(m.daemons))]
	return d, filepath.Base(d.LogPath())
}

func (m *model) killDaemon(d *proc.Process) {
	d.Kill()
	for i := range m.daemons {
		if m.daemons[i] == d {
			m.daemons = append(m.daemons[:i], m.daemons[i+1:]...)
			return
		}
	}
}

// restartDaemon kills a daemon and starts another one, at once or later, and
// with the primary compacted in between or not.
func (m *model) restartDaemon() {
	d, name := m.takeDaemon()
	if m.random.IntN(2) == 0 {
		// Slow enough that the kill comes between two transactions, or into one.
		m.note("link to the standby: delay")
		m.standbyLink.Delay(100 * time.Millisecond)
		m.hold(500*time.Millisecond + m.upTo(500*time.Millisecond))
	}
	m.note("kill %s", name)
	m.killDaemon(d)
	switch m.random.IntN(3) {
	case 0:
	case 1:
		m.hold(m.upTo(time.Second))
	case 2:
		m.hold(m.upTo(500 * time.Millisecond))
		if m.random.IntN(2) == 0 {
			m.createForeign()
		}
		m.compactPrimary()
		if m.random.IntN(3) == 0 {
			return // heal starts another one
		}
	}
	m.spawn()
	m.hold(m.upTo(time.Second))
}

// freezeDaemon freezes the daemons beyond the lease's end while another one
// takes over, and lets them go on then.
func (m *model) freezeDaemon() {
	d, name := m.takeDaemon()
	m.note("freeze %s", name)
	if err := d.Pause(); err != nil {
		m.Fatal(err)
	}
	if len(m.daemons) == 1 {
		m.spawn()
	}
	m.hold(m.config.LeaseTTL + m.upTo(2*time.Second))
	m.note("continue %s", name)
	if err := d.Continue(); err != nil {
		m.Fatal(err)
	}
	m.hold(m.upTo(time.Second))
	if m.random.IntN(2) == 0 {
		other, name := m.takeDaemon()
		m.note("kill %s", name)
		m.killDaemon(other)
	}
}

func (m *model) secondDaemon() {
	m.heal()
	if len(m.daemons) < 2 {
		m.spawn()
		return
	}
	m.restartDaemon()
}

// breakLink breaks the way to one side for a while.
func (m *model) breakLink() {
	m.heal()
	links, side := []*faultproxy.Proxy{m.standbyLink}, "standby"
	if m.random.IntN(2) == 0 {
		links, side = m.primaryLinks, "primary"
		if len(links) > 1 && m.random.IntN(2) == 0 {
			i := m.random.IntN(len(links))
			links, side = links[i:i+1], fmt.Sprintf("primary's member %d", i)
		}
	}
	seed := m.random.Uint64()
	faults := []struct {
		name string
		do   func(*faultproxy.Proxy)
		most time.Duration
	}{
		{"cut", (*faultproxy.Proxy).Cut, 2 * time.Second},
		{"reset", (*faultproxy.Proxy).Reset, time.Second},
		{"swallow requests", func(p *faultproxy.Proxy) { p.Blackhole(faultproxy.ToServer) }, 5 * time.Second},
		{"swallow answers", func(p *faultproxy.Proxy) { p.Blackhole(faultproxy.ToClient) }, 5 * time.Second},
		{"delay", func(p *faultproxy.Proxy) { p.Delay(100 * time.Millisecond) }, 3 * time.Second},
		{"slow down", func(p *faultproxy.Proxy) { p.Throttle(20 << 10) }, 3 * time.Second},
		{"reset at random", func(p *faultproxy.Proxy) { p.RandomResets(seed, 8<<10) }, 3 * time.Second},
	}
	fault := faults[m.random.IntN(len(faults))]
	m.note("link to the %s: %s", side, fault.name)
	for _, link := range links {
		fault.do(link)
	}
	m.hold(m.upTo(fault.most))
	if m.random.IntN(3) == 0 {
		m.compactPrimary()
	}
	if m.random.IntN(3) > 0 {
		m.heal()
		m.note("links restored")
	} // else the next action meets it broken, unless it needs it whole
}

// loseReply lets a transaction on the standby go through and nobody learn of it.
func (m *model) loseReply() {
	m.heal()
	m.note("lose the reply to a transaction")
	lost := m.standbyLink.DropNextReply("/etcdserverpb.KV/Txn")
	select {
	case <-lost:
	case <-time.After(5 * time.Second): // nobody leads at the moment
	}
}

// compactPrimary compacts up to now, so that whoever is behind has lost the way.
func (m *model) compactPrimary() {
	m.compact("primary", m.primary.Client(), 0)
}

// compactStandby compacts as API servers do: up to where it was a while ago, and
// no farther than a daemon has looked. Where the history is gone before that, nobody
// knows who created a key, and a resync must leave it; that is not for this test.
func (m *model) compactStandby() {
	at := m.quietAt[1]
	if at == 0 {
		return
	}
	m.until("reading how far the standby was looked at", func(ctx context.Context) error {
		c, err := sink.ReadCheckpoint(ctx, m.standby.Client())
		at = min(at, c.Guarded)
		return err
	})
	if at > 0 {
		m.compact("standby", m.standby.Client(), int64(at))
	}
}

func (m *model) compact(side string, client *clientv3.Client, at int64) {
	m.Helper()
	m.until("compacting the "+side, func(ctx context.Context) error {
		resp, err := client.Get(ctx, "/registry/", clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		if at == 0 {
			at = resp.Header.Revision
		}
		if _, err := client.Compact(ctx, at); err != nil && ctx.Err() != nil {
			return err
		}
		return nil // compacted already, perhaps by a call that was not answered
	})
	m.note("%s compacted to %d", side, at)
}

// killPrimary kills one member, the leader mostly, or all of a single one.
func (m *model) killPrimary() {
	i := 0
	if n := len(m.primaryLinks); n > 1 {
		i = m.primary.LeaderIndex()
		if m.random.IntN(4) == 0 {
			i = m.random.IntN(n)
		}
	}
	m.note("kill member %d of the primary", i)
	m.primary.KillMember(i)
	m.hold(m.upTo(2 * time.Second))
	m.primary.RestartMember(i)
	m.note("member %d of the primary is back", i)
}

func (m *model) killStandby() {
	m.note("kill the standby")
	m.standby.Kill()
	m.hold(m.upTo(2 * time.Second))
	m.standby.Restart()
	m.note("the standby is back")
}

// createForeign creates a key on the standby that the primary does not have.
func (m *model) createForeign() {
	m.created++
	key := fmt.Sprintf("/registry/configmaps/prod/foreign-%03d", m.created)
	m.putForeign(key)
}

func (m *model) putForeign(key string) {
	m.Helper()
	value := configMap(m.created)
	m.until("creating "+key, func(ctx context.Context) error {
		_, err := m.standby.Client().Put(ctx, key, value)
		return err
	})
	m.foreign[key] = value
	delete(m.overlooked, key)
	m.note("created on the standby: %s", key)
}

// pickForeign chooses in an order that the seed decides.
func (m *model) pickForeign() string {
	if len(m.foreign) == 0 {
		m.createForeign()
	}
	for {
		key := fmt.Sprintf("/registry/configmaps/prod/foreign-%03d", 1+m.random.IntN(m.created))
		if _, ok := m.foreign[key]; ok {
			return key
		}
	}
}

// deleteForeign lets its creator delete it, and create it again or not.
func (m *model) deleteForeign() {
	key := m.pickForeign()
	m.until("deleting "+key, func(ctx context.Context) error {
		_, err := m.standby.Client().Delete(ctx, key)
		return err
	})
	delete(m.foreign, key)
	m.note("deleted on the standby: %s", key)
	if m.random.IntN(2) == 0 {
		m.hold(m.upTo(300 * time.Millisecond))
		m.putForeign(key)
	}
}

// takeOverForeign lets the primary create a key that the standby has from
// somebody else: it is the primary's from then on, its deletion too. Both may
// be over before a daemon that was away compares; then nothing has happened. A first
// copy would refuse such a twin until somebody has decided, so it comes before.
func (m *model) takeOverForeign() {
	if m.reached == 0 {
		return
	}
	key := m.pickForeign()
	m.until("creating "+key+" on the primary", func(ctx context.Context) error {
		_, err := m.primary.Client().Put(ctx, key, configMap(-m.created))
		return err
	})
	value := m.foreign[key]
	delete(m.foreign, key)
	m.note("created on the primary: %s", key)
	if m.random.IntN(2) == 0 {
		m.hold(m.upTo(500 * time.Millisecond))
		m.until("deleting "+key+" on the primary", func(ctx context.Context) error {
			_, err := m.primary.Client().Delete(ctx, key)
			return err
		})
		m.note("deleted on the primary: %s", key)
		m.overlooked[key] = value
	}
}

// pause orders a pause, and ends it after a while.
func (m *model) pause() {
	m.until("ordering a pause", func(ctx context.Context) error {
		_, err := role.SetPause(ctx, m.standby.Client(), role.Pause{Since: time.Now(), By: "model"})
		return err
	})
	m.note("paused")
	m.hold(m.upTo(2 * time.Second))
	m.until("resuming", func(ctx context.Context) error {
		_, err := role.ClearPause(ctx, m.standby.Client())
		return err
	})
	m.note("resumed")
}

// burst writes as fast as it goes, in transactions as large as etcd lets pass
// with a checkpoint beside them.
func (m *model) burst() {
	n := 50 + m.random.IntN(300)
	m.note("burst of %d transactions", n)
	for i := range n {
		ctx, cancel := context.WithTimeout(m.Context(), 5*time.Second)
		var ops []clientv3.Op
		for j := range 1 + m.random.IntN(20) {
			key := fmt.Sprintf("/registry/configmaps/prod/burst-%03d", (i*7+j)%200)
			if m.random.IntN(4) == 0 {
				ops = append(ops, clientv3.OpDelete(key))
				continue
			}
			ops = append(ops, clientv3.OpPut(key, configMap(i)))
		}
		_, err := m.primary.Client().Txn(ctx).Then(ops...).Commit()
		cancel()
		if err != nil {
			m.note("burst ended: %v", err)
			return
		}
	}
}
