package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
)

// statusCommands wait for what is shown of a pair.
//
//	protected        wait until status says PROTECTED
//	at-risk RULE     wait until status says AT RISK because of a rule
//	unverified RULE  the same with UNVERIFIED
var statusCommands = map[string]func(*testscript.TestScript, bool, []string){
	"protected": waitProtected,
	"at-risk":   func(ts *testscript.TestScript, neg bool, args []string) { waitVerdict(ts, neg, args, console.AtRisk) },
	"unverified": func(ts *testscript.TestScript, neg bool, args []string) {
		waitVerdict(ts, neg, args, console.Unverified)
	},
}

func waitProtected(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: protected")
	}
	untilStatus(ts, "the pair is protected", func(s console.Status) bool { return s.Verdict == console.Protected })
}

func waitVerdict(ts *testscript.TestScript, neg bool, args []string, want console.Verdict) {
	needArgs(ts, neg, args, 1, "at-risk RULE")
	untilStatus(ts, string(want)+": "+args[0], func(s console.Status) bool {
		return s.Verdict == want && slices.ContainsFunc(s.Reasons, func(r console.Reason) bool { return r.Rule == args[0] })
	})
}

func untilStatus(ts *testscript.TestScript, what string, ok func(console.Status) bool) {
	pair, err := config.Load(ts.MkAbs("understudy.yaml"))
	ts.Check(err)
	view, err := newView(pair)
	ts.Check(err)
	look := &observer{pair: pair, view: view}
	defer look.close()
	until(ts, what, func(ctx context.Context) error {
		if s := console.Judge(look.facts(ctx)); !ok(s) {
			return fmt.Errorf("%s: %+v", s.Verdict, s.Reasons)
		}
		return nil
	})
}
