package replica_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
)

// S: a fresh cluster is not copied over the one that is in use: nothing is written,
// not even who is the standby.
func TestSwappedSidesAreRefused(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, p *pair){
		"Clusters on the standby alone": func(t *testing.T, p *pair) {
			put(t, p.standby.Client(), "/registry/cluster.x-k8s.io/clusters/shop/prod", stored("Cluster", "shop", "prod", theirs, ""))
		},
		"an all but empty primary": func(t *testing.T, p *pair) {
			for i := range 60 {
				put(t, p.standby.Client(), fmt.Sprintf("/registry/configmaps/shop/c-%02d", i), configMap(100+i))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			put(t, p.primary.Client(), "/registry/configmaps/prod/only", configMap(1))
			fill(t, p)
			before := everything(t, p.standby.Client())
			_, err := p.new(t).Once(t.Context())
			if !errors.Is(err, replica.ErrSwapped) || remedy.CodeOf(err) != remedy.Refused {
				t.Fatalf("copy over the cluster that is in use: %v", err)
			}
			if after := everything(t, p.standby.Client()); !maps.Equal(before, after) {
				t.Errorf("a refused copy has written: %d keys became %d", len(before), len(after))
			}
		})
	}
}

// A standby that has more than the primary, but not nearly all, is one.
func TestAStandbyWithObjectsOfItsOwnIsNotSwapped(t *testing.T) {
	p := newPair(t)
	for i := range 10 {
		put(t, p.primary.Client(), fmt.Sprintf("/registry/configmaps/prod/c-%02d", i), configMap(i))
	}
	for i := range 90 {
		put(t, p.standby.Client(), fmt.Sprintf("/registry/configmaps/shop/c-%02d", i), configMap(100+i))
	}
	p.once(t)
}
