package main

import (
	"fmt"
	"testing"

	"github.com/understudy-dr/understudy/config"
)

func TestLostPatterns(t *testing.T) {
	there := map[string]bool{"machines.cluster.x-k8s.io": true, "clusters.cluster.x-k8s.io": true, "secrets": true}
	for pattern, want := range map[string]string{
		"machines.cluster.x-k8s.io": "[]",
		"*.cluster.x-k8s.io":        "[]",
		"jobs.batch":                "[]", // built in: there may be some tomorrow
		"machine.cluster.x-k8s.io":  "[{at breaker.rules[0].resources[0] machine.cluster.x-k8s.io machines.cluster.x-k8s.io}]",
		"machines":                  "[{at breaker.rules[0].resources[0] machines machines.cluster.x-k8s.io}]",
		"*.infrastructure.io":       "[{at breaker.rules[0].resources[0] *.infrastructure.io }]",
	} {
		got := lostPatterns([]config.BreakerRule{{Resources: []string{pattern}}}, there, func(field string) string { return "at " + field })
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", pattern, got, want)
		}
	}
}
