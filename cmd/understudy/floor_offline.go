package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/datadir"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/sink"
)

// votingMembers refuses learners: a restored cluster would not know them.
func votingMembers(ctx context.Context, standby *cluster.Cluster) ([]cluster.Member, error) {
	members, err := standby.Members(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.Learner {
			return nil, &remedy.Error{Op: "raise the floor", Err: fmt.Errorf("the member %s of %s is a learner", m.Name, standby.Name),
				Remedy: "promote it first: " + standby.Etcdctl() + fmt.Sprintf(" member promote %x", m.ID), Code: remedy.Refused}
		}
	}
	return members, nil
}

func raisePrepare(ctx context.Context, standby *cluster.Cluster, opts floorRaiseOptions, r *raise, stderr io.Writer) error {
	members, err := votingMembers(ctx, standby)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(opts.targetDir)
	if err != nil {
		return err
	}
	began := time.Now()
	plan := datadir.Plan{Dir: dir, To: r.To, Say: func(text string) { fmt.Fprintln(stderr, text) },
		Snapshot: func(ctx context.Context, w io.Writer) error { _, err := standby.Snapshot(ctx, w); return err }}
	for _, m := range members {
		plan.Members = append(plan.Members, datadir.Member{Name: m.Name, PeerURLs: m.PeerURLs})
	}
	done, err := datadir.Prepare(ctx, plan)
	if err != nil {
		return err
	}
	r.Done, r.From, r.To, r.Members, r.Seconds = true, done.From, done.To, done.Members, time.Since(began).Seconds()
	r.ClusterID = cluster.FormatID(done.ClusterID)
	r.Commands = swapCommands(members, done, cmp.Or(opts.dataDir, "/var/lib/etcd"))
	r.Notes = append(r.Notes,
		fmt.Sprintf("what is written to %s after revision %d is lost with the old data, unless its API servers were stopped before", r.standby, done.From),
		"the directories hold every Secret of the cluster: delete them where they are not needed",
		"swap all members together: one with the new data does not speak to one with the old",
		"when etcd and the API servers run again: understudy floor verify")
	return nil
}

// swapCommands are for control plane nodes whose etcd and API server are static
// pods; the comments say what matters elsewhere.
func swapCommands(members []cluster.Member, done datadir.Prepared, dataDir string) []string {
	lines := []string{
		"# 1. On every node of the standby: stop the API server and etcd (elsewhere: systemctl stop ...)",
		"mkdir -p /root/stopped && mv /etc/kubernetes/manifests/kube-apiserver.yaml /etc/kubernetes/manifests/etcd.yaml /root/stopped/",
		"while pgrep -x 'etcd|kube-apiserver' >/dev/null; do sleep 1; done",
		"",
		"# 2. On each node: keep the old data, put the new in its place",
	}
	for _, m := range members {
		from := done.Members[m.Name]
		lines = append(lines, "# "+m.Name+" ("+strings.Join(m.PeerURLs, ", ")+"): copy "+from+" to this node first",
			fmt.Sprintf("mkdir -p %[1]s/before-floor && chown -R --reference=%[1]s/member %[2]s && mv %[1]s/member %[1]s/before-floor/ && mv %[2]s/member %[1]s/member && sync",
				remedy.Quote(dataDir), remedy.Quote(from)))
	}
	return append(lines, "",
		"# 3. On every node: start etcd, and then the API server, which so is restarted too",
		"mv /root/stopped/etcd.yaml /root/stopped/kube-apiserver.yaml /etc/kubernetes/manifests/",
		"",
		"# To go back, with etcd stopped on every node: "+datadir.GoBack(dataDir, filepath.Join(dataDir, "before-floor")),
		"# then start etcd, and restart every API server")
}

func raiseSwap(ctx context.Context, pair *config.Pair, standby *cluster.Cluster, id cluster.Identity, opts floorRaiseOptions, r *raise, stderr io.Writer) error {
	members, err := votingMembers(ctx, standby)
	if err != nil {
		return err
	}
	if len(members) != 1 {
		return &remedy.Error{Op: "raise the floor in place", Err: fmt.Errorf("%s has %d members, which have to be swapped together", pair.Standby.Name, len(members)),
			Remedy: "understudy floor raise --offline --target-dir DIR --apply, and follow what it prints", Code: remedy.Refused}
	}
	dir, err := filepath.Abs(opts.dataDir)
	if err != nil {
		return err
	}
	s := datadir.Swap{
		DataDir: dir, Member: datadir.Member{Name: members[0].Name, PeerURLs: members[0].PeerURLs},
		ClusterID: id.ID, MemberID: members[0].ID, To: r.To, Patience: opts.stopPatience,
		Stop: shell(uncut+opts.stop, stderr), Start: shell(uncut+opts.start, stderr),
		Say: func(text string) { fmt.Fprintln(stderr, text) },
	}
	done, err := s.Run(ctx)
	if done.Kept != "" {
		r.Kept, r.GoBack = done.Kept, s.GoBack(done)
		r.From, r.ClusterID = done.From, cluster.FormatID(done.ClusterID)
	}
	if err != nil {
		return err
	}
	at, err := serves(ctx, pair, done.ClusterID)
	op := fmt.Sprintf("wait for the etcd on the lifted data, which is in place: cluster %s, revision %d", r.ClusterID, done.To)
	if err != nil {
		return &remedy.Error{Op: op, Err: err, Code: remedy.Unknown,
			Remedy: "look at etcd's log; when it serves, restart every API server, then: understudy floor verify\nto go back, with etcd stopped: " + r.GoBack}
	}
	if at < done.To {
		return &remedy.Error{Op: op, Err: fmt.Errorf("it serves revision %d: it was started before that was in place, and has the old database with the new log", at),
			Remedy: "it may not start again: stop it at once, and whatever starts it; then go back: " + r.GoBack}
	}
	r.Done, r.To, r.Seconds = true, at, done.Down.Seconds()
	r.Notes = append(r.Notes, fmt.Sprintf("etcd was down for %.1f s", done.Down.Seconds()), restartNote)
	return nil
}

// startPatience is how long etcd may take to serve.
const startPatience = 2 * time.Minute

// serves waits until the cluster answers with its new ID.
func serves(ctx context.Context, pair *config.Pair, id uint64) (kv.Revision, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		at, err := identify(ctx, pair.Standby)
		if err == nil && at.ID == id {
			return at.Revision, nil
		}
		if err == nil {
			err = fmt.Errorf("the cluster %s answers", cluster.FormatID(at.ID))
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w; the last answer: %s", ctx.Err(), oneLine(err))
		case <-time.After(time.Second):
		}
	}
}

func identify(ctx context.Context, c config.Cluster) (cluster.Identity, error) {
	opened, err := dial(ctx, c)
	if err != nil {
		return cluster.Identity{}, err
	}
	defer opened.Close()
	return opened.Identify(ctx, sink.CheckpointKey)
}

// uncut is put before a command that Ctrl-C must not cut off, which a terminal sends
// to all that runs at it. The command may ask there.
const uncut = "trap '' INT\n"

// shell runs a command line of the user's. What it prints goes to stderr.
func shell(command string, stderr io.Writer) func(context.Context) error {
	return func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.Stdout, cmd.Stderr = stderr, stderr
		cmd.WaitDelay = time.Second // it may leave a child behind that holds stderr
		if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return fmt.Errorf("%s: %w", strings.TrimPrefix(command, uncut), err)
		}
		return nil
	}
}
