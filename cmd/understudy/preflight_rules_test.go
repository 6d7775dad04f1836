package main

import (
	"fmt"
	"testing"

	"github.com/understudy-dr/understudy/console"
)

func TestLostPatterns(t *testing.T) {
	there := map[string]bool{"machines.cluster.x-k8s.io": true, "clusters.cluster.x-k8s.io": true, "secrets": true}
	for pattern, want := range map[string]string{
		"machines.cluster.x-k8s.io": "[]",
		"*.cluster.x-k8s.io":        "[]",
		"jobs.batch":                "[]", // built in: there may be some tomorrow
		"machine.cluster.x-k8s.io":  "[{pair.yaml:9 machine.cluster.x-k8s.io machines.cluster.x-k8s.io}]",
		"machines":                  "[{pair.yaml:9 machines machines.cluster.x-k8s.io}]",
		"*.infrastructure.io":       "[{pair.yaml:9 *.infrastructure.io }]",
	} {
		got := lostPatterns([]console.LostPattern{{At: "pair.yaml:9", Pattern: pattern}}, there)
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", pattern, got, want)
		}
	}
}
