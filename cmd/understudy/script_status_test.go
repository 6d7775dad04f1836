package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/sink"
)

// statusCommands wait for what is shown of a pair.
//
//	protected        wait until status says PROTECTED
//	at-risk RULE     wait until status says AT RISK because of a rule
//	unverified RULE  the same with UNVERIFIED
//	old-check AGE    the daemon, which is dead, made its last check so long ago
var statusCommands = map[string]func(*testscript.TestScript, bool, []string){
	"protected": waitProtected,
	"at-risk":   func(ts *testscript.TestScript, neg bool, args []string) { waitVerdict(ts, neg, args, console.AtRisk) },
	"unverified": func(ts *testscript.TestScript, neg bool, args []string) {
		waitVerdict(ts, neg, args, console.Unverified)
	},
	"old-check": ageCheck,
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

func ageCheck(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "old-check AGE")
	age, err := time.ParseDuration(args[0])
	ts.Check(err)
	ctx, cancel := bounded()
	defer cancel()
	client := etcdOf(ts, "standby").Client()
	stored, err := client.Get(ctx, sink.ReportKey)
	ts.Check(err)
	if len(stored.Kvs) == 0 {
		ts.Fatalf("no daemon has reported")
	}
	report, err := console.DecodeReport(stored.Kvs[0].Value)
	ts.Check(err)
	report.Time, report.LastCheck.Time = report.Time.Add(-age), report.LastCheck.Time.Add(-age)
	raw, err := report.Encode()
	ts.Check(err)
	_, err = client.Put(ctx, sink.ReportKey, raw)
	ts.Check(err)
}
