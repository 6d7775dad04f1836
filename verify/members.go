package verify

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
)

// Members compares the members of one etcd cluster with each other, by etcd's
// own hash of everything that they hold up to a revision. A comparison of two
// clusters reads one member of each; a member whose disk went bad by itself
// shows here only.
//
// It returns what differs, nothing where all agree. Where none differs, a member
// that was not asked is an error. A cluster of one member has nothing to compare. With etcd's authentication on it needs root.
func Members(ctx context.Context, client *clientv3.Client, endpoints []string, at kv.Revision) (problems []string, err error) {
	all, err := client.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the members: %w", err)
	}
	asked := map[uint64]bool{}
	type answer struct {
		endpoint  string
		hash      uint32
		compacted int64
	}
	var first *answer
	if len(endpoints) < 2 && len(all.Members) < 2 {
		return nil, nil
	}
	for _, endpoint := range endpoints {
		resp, err := client.HashKV(ctx, endpoint, int64(at))
		if err != nil {
			return nil, fmt.Errorf("hash the keys of %s at revision %d: %w", endpoint, at, err)
		}
		asked[resp.Header.MemberId] = true
		this := answer{endpoint, resp.Hash, resp.CompactRevision}
		switch {
		case first == nil:
			first = &this
		case this.compacted != first.compacted:
			return nil, fmt.Errorf("%s and %s have compacted to different revisions, %d and %d; try again", first.endpoint, endpoint, first.compacted, this.compacted)
		case this.hash != first.hash:
			problems = append(problems, fmt.Sprintf("%s and %s hold different data at revision %d", first.endpoint, endpoint, at))
		}
	}
	if len(problems) == 0 && len(asked) < len(all.Members) {
		return nil, fmt.Errorf("only %d of %d members were compared; name all of them in etcd.endpoints", len(asked), len(all.Members))
	}
	return problems, nil
}
