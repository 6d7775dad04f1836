package main

import (
	"testing"

	"github.com/understudy-dr/understudy/config"
)

// A rule that says nothing of the floor leaves it as it was: who makes the breaker
// stricter for some resources does not loosen it for them.
// As it comes, the breaker stops where two fifths of a resource go, from 20 objects on.
func TestTheDefaultsStopAtTwoFifths(t *testing.T) {
	p, err := config.Parse("pair.yaml", []byte("apiVersion: understudy.dev/v1alpha1\nkind: Pair\nmetadata: {name: moscow-spb}\n"+
		"primary: {name: moscow, etcd: {endpoints: ['http://a:1']}}\nstandby: {name: spb, etcd: {endpoints: ['http://b:1']}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	share, floor := breakerOf(p.Breaker).Of("widgets.example.com")
	for of := int64(20); of < 1000; of++ {
		if deleted := (2*of + 4) / 5; deleted <= floor || float64(deleted) <= share/100*float64(of) {
			t.Fatalf("%d of %d are not too many", deleted, of)
		}
	}
}

func TestARuleWithoutAFloorKeepsTheFloor(t *testing.T) {
	pair := "apiVersion: understudy.dev/v1alpha1\nkind: Pair\nmetadata: {name: moscow-spb}\n" +
		"primary: {name: moscow, etcd: {endpoints: ['http://a:1']}}\nstandby: {name: spb, etcd: {endpoints: ['http://b:1']}}\n"
	for name, tc := range map[string]struct {
		breaker, resource string
		share             float64
		floor             int64
	}{
		"a Cluster":                       {"rules: [{resources: [clusters.cluster.x-k8s.io], share: 5}]", "clusters.cluster.x-k8s.io", 5, 3},
		"under a stricter general floor":  {"floor: 2, rules: [{resources: [secrets], share: 5}]", "secrets", 5, 2},
		"under a looser general floor":    {"floor: 50, rules: [{resources: [secrets], share: 5}]", "secrets", 5, 50},
		"a floor of its own":              {"rules: [{resources: [clusters.cluster.x-k8s.io], share: 5, floor: 7}]", "clusters.cluster.x-k8s.io", 5, 7},
		"a floor of nothing":              {"rules: [{resources: [secrets], share: 5, floor: 0}]", "secrets", 5, 0},
		"after a rule that has one":       {"rules: [{resources: ['*'], share: 50, floor: 9}, {resources: [secrets], share: 5}]", "secrets", 5, 9},
		"a resource that no rule matches": {"rules: [{resources: [secrets], share: 5, floor: 1}]", "configmaps", 30, 7},
		"a pattern that is looser":        {"rules: [{resources: ['*.cluster.x-k8s.io'], share: 5, floor: 5}]", "clusters.cluster.x-k8s.io", 5, 3},
		"a pattern that switches it off":  {"rules: [{resources: ['*'], share: 100}]", "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io", 30, 3},
		"a pattern for others":            {"rules: [{resources: ['*.cluster.x-k8s.io'], share: 5, floor: 5}]", "machines.cluster.x-k8s.io", 5, 5},
		"named, and then a pattern":       {"rules: [{resources: [clusters.cluster.x-k8s.io], share: 50, floor: 9}, {resources: ['*'], share: 60, floor: 99}]", "clusters.cluster.x-k8s.io", 30, 3},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := config.Parse("pair.yaml", []byte(pair+"breaker: {"+tc.breaker+"}\n"))
			if err != nil {
				t.Fatal(err)
			}
			if share, floor := breakerOf(p.Breaker).Of(tc.resource); share != tc.share || floor != tc.floor {
				t.Errorf("share %v, floor %d; want %v, %d", share, floor, tc.share, tc.floor)
			}
		})
	}
}
