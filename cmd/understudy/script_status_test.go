package main

import (
	"context"
	"fmt"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
)

// statusCommands wait for what is shown of a pair.
//
//	protected    wait until status says PROTECTED
var statusCommands = map[string]func(*testscript.TestScript, bool, []string){
	"protected": waitProtected,
}

func waitProtected(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: protected")
	}
	pair, err := config.Load(ts.MkAbs("understudy.yaml"))
	ts.Check(err)
	view, err := newView(pair)
	ts.Check(err)
	look := &observer{pair: pair, view: view}
	defer look.close()
	until(ts, "the pair is protected", func(ctx context.Context) error {
		if s := console.Judge(look.facts(ctx)); s.Verdict != console.Protected {
			return fmt.Errorf("%s: %+v", s.Verdict, s.Reasons)
		}
		return nil
	})
}
