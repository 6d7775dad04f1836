package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/verify"
)

// sides are both clusters of a pair, connected. Close them after use.
type sides struct {
	primary, standby     *cluster.Cluster
	primaryID, standbyID cluster.Identity
	served               verify.Served
}

// openSides connects to both clusters at once, and refuses a pair whose sides
// are the same cluster.
func openSides(ctx context.Context, pair *config.Pair, view *scope.View) (*sides, error) {
	s := &sides{}
	ended := make(chan error, 2)
	open := func(c config.Cluster, to **cluster.Cluster, id *cluster.Identity) {
		opened, err := dial(ctx, c)
		if err == nil {
			*to = opened
			*id, err = opened.Identify(ctx, view.Scope.Prefix())
		}
		ended <- err
	}
	go open(pair.Primary, &s.primary, &s.primaryID)
	go open(pair.Standby, &s.standby, &s.standbyID)
	err := errors.Join(<-ended, <-ended)
	if err == nil {
		err = differentClusters(pair, s.primaryID.ID, s.standbyID.ID)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.served = servedBy(pair, s.standby.Client, view)
	return s, nil
}

func differentClusters(pair *config.Pair, primary, standby uint64) error {
	if primary != standby {
		return nil
	}
	return &remedy.Error{
		Op:     fmt.Sprintf("pair %s with %s", pair.Primary.Name, pair.Standby.Name),
		Err:    fmt.Errorf("both are the same etcd cluster, %s", cluster.FormatID(primary)),
		Remedy: "correct etcd.endpoints of one side: understudy config view", Code: remedy.Refused,
	}
}

func (s *sides) close() {
	for _, c := range []*cluster.Cluster{s.primary, s.standby} {
		if c != nil {
			c.Close()
		}
	}
}

func (s *sides) clients() verify.Sides {
	return verify.Sides{Primary: s.primary.Client, Standby: s.standby.Client, Served: s.served}
}

// describer names the objects of keys for people.
func describer(view *scope.View) console.Describe {
	return func(key string) string { return describeKey(view.Scope, key) }
}
