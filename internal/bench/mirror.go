package main

import (
	"fmt"

	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/internal/testkit/proc"
)

const mirrorName = "make-mirror"

// startMirror starts etcdctl make-mirror, which never ends by itself. With rev
// 0 it copies everything first; otherwise it mirrors from revision rev on.
func (b *bench) startMirror(primary, standby *etcdproc.Cluster, rev int64) (*child, error) {
	args := []string{"make-mirror", "--endpoints=" + primary.Endpoints()[0], "--prefix=" + prefix,
		"--dest-prefix=" + prefix, // with --rev it would otherwise be empty
		standby.Endpoints()[0]}
	if rev != 0 {
		args = append(args, fmt.Sprintf("--rev=%d", rev))
	}
	return b.start(mirrorName, proc.Spec{Path: b.etcdctl, Args: args})
}
