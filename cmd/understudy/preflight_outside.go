package main

import (
	"context"

	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// outside is what the cluster keeps outside sync.prefixes; below "/" nothing is,
// and all of it counts.
func (e *etcdSide) outside(ctx context.Context) console.Found[[]console.OutsideFacts] {
	if e.err != nil {
		return console.NotFound[[]console.OutsideFacts](oneLine(e.err))
	}
	prefixes := e.preflight.view.Scope.Prefixes()
	if prefixes[0] == "/" {
		prefixes = nil
	}
	found, err := source.Survey(ctx, e.cluster.Client, prefixes)
	facts := []console.OutsideFacts{}
	for _, one := range found {
		facts = append(facts, console.OutsideFacts(one))
	}
	return console.FoundIf(facts, err)
}

// leftOut counts what of value on the primary takes no part.
type leftOut struct {
	alone scope.LeftOutTally // the standby has no such key
	there int64              // the standby has one
}

// note looks at one key of both sides; a side that lacks it is nil.
func (l *leftOut) note(view *scope.View, primary, standby *kv.Pair) {
	if primary == nil {
		return
	}
	worth := view.LeftOut(primary.Key, primary.Value)
	switch {
	case worth == "":
	case standby != nil:
		l.there++
	default:
		k, _ := view.Scope.Parse(primary.Key) // only objects are of worth
		l.alone.Add(k.Namespace, worth)
	}
}

func (l *leftOut) facts() console.LeftOutFacts {
	return console.LeftOutFacts{Alone: console.LeftOut(l.alone.LeftOut), There: l.there}
}
