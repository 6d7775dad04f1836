package verify

import (
	"context"
	"strings"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
)

// join walks both streams, lets several goroutines compare, and adds what they
// found to the report in key order. Both have to end with the context.
func join(ctx context.Context, primary, standby kv.Stream, view *scope.View, report *Report, opts Options) error {
	judge := func(p, s *kv.Pair) finding { return compare(view, opts.records, p, s) }
	table := tally{view: view, of: report.Scope}
	seen := int64(0)
	err := kv.JoinAhead(ctx, func() {}, primary, standby, judge, func(p, s *kv.Pair, found finding) error {
		found = opts.served.settle(ctx, p, s, found)
		if seen++; opts.Progress != nil && seen%progressEvery == 0 {
			opts.Progress(seen)
		}
		key := ""
		if p != nil {
			key = p.Key
			table.count(key, found)
		} else {
			key = s.Key
		}
		if found.out {
			return nil
		}
		report.Compared++
		if found.opaque {
			report.Opaque++
		}
		if found.kind != "" {
			resource, _ := resourceOf(view, key)
			report.add(key, found.kind, found.why, opts.Limit)
			report.count(resource, found.kind)
		}
		return nil
	})
	report.LeftOut = table.leftOut.LeftOut
	if opts.Progress != nil {
		opts.Progress(seen)
	}
	return err
}

// progressEvery is after how many keys a check says how far it is.
const progressEvery = 256

// tally counts what the primary has by resource. Keys come in order, so most
// are of the same one as the key before.
type tally struct {
	view      *scope.View
	of        map[string]Resource
	leftOut   scope.LeftOutTally
	resource  string
	directory string // of the resource's objects; "" = of none
}

func (t *tally) count(key string, found finding) {
	if t.directory == "" || !strings.HasPrefix(key, t.directory) {
		t.resource, t.directory = resourceOf(t.view, key)
	}
	sum := t.of[t.resource]
	sum.add(found.counts())
	t.of[t.resource] = sum
	if found.worth != "" {
		k, _ := t.view.Scope.Parse(key)
		t.leftOut.Add(k.Namespace, found.worth)
	}
}

// Raw is what keys that belong to no resource are counted under.
const Raw = "(raw)"

func resourceOf(view *scope.View, key string) (resource, directory string) {
	parsed, ok := view.Scope.Parse(key)
	if !ok {
		return Raw, ""
	}
	return parsed.GroupResource(), scope.Directory(key, parsed)
}
