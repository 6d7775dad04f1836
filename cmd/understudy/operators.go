package main

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/hold"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/sink"
)

// operatorsPatience bounds the look for operators.
const operatorsPatience = 20 * time.Second

// findOperators returns the workloads of the standby's own that will act on what is replicated.
func findOperators(ctx context.Context, pair *config.Pair, view *scope.View, primary, standby *clientv3.Client) ([]console.OperatorFacts, error) {
	ctx, cancel := context.WithTimeout(ctx, operatorsPatience)
	defer cancel()
	found, err := hold.FindOperators(ctx, primary, standby, view)
	out := []console.OperatorFacts{}
	for _, o := range found {
		kept := false
		for _, w := range pair.Hold.Workloads {
			selector, wrong := labels.Parse(w.Selector)
			kept = kept || w.Namespace == o.Namespace && (w.Name == o.Name || w.Name == "" && wrong == nil && selector.Matches(labels.Set(o.Labels)))
		}
		out = append(out, console.OperatorFacts{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Says: o.Says(), Kept: kept && o.Kind == "Deployment"})
	}
	return out, err
}

// warnOfOperators says before the first sync which operators of the standby will act on what
// it brings: people skip preflight.
func warnOfOperators(ctx context.Context, app *app, pair *config.Pair) {
	says, remedy, err := operatorsBeforeFirst(ctx, pair)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		app.log.Debug("cannot look for operators of the standby", "error", err)
	case says != "":
		app.log.Warn("running workloads of the standby will act on replicated objects", "operators", says, "remedy", remedy)
	}
}

func operatorsBeforeFirst(ctx context.Context, pair *config.Pair) (says, remedy string, err error) {
	view, err := newView(pair)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, operatorsPatience)
	defer cancel()
	standby, err := dial(ctx, pair.Standby)
	if err != nil {
		return "", "", err
	}
	defer standby.Close()
	if c, err := sink.ReadCheckpoint(ctx, standby.Client); err != nil || c.Exists() {
		return "", "", err
	}
	primary, err := dial(ctx, pair.Primary)
	if err != nil {
		return "", "", err
	}
	defer primary.Close()
	operators, err := findOperators(ctx, pair, view, primary.Client, standby.Client)
	if err != nil {
		return "", "", err
	}
	says, remedy = console.OperatorsWarning(operators)
	return says, remedy, nil
}
