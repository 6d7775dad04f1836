package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
)

// dial connects to one side of the pair.
func dial(ctx context.Context, c config.Cluster) (*cluster.Cluster, error) {
	return cluster.Dial(ctx, clusterConfig(c))
}

// clusterConfig is the seam between the configuration and package cluster.
func clusterConfig(c config.Cluster) cluster.Config {
	return cluster.Config{
		Name:         c.Name,
		Endpoints:    c.Etcd.Endpoints,
		CA:           c.Etcd.CA,
		Cert:         c.Etcd.Cert,
		Key:          c.Etcd.Key,
		ServerName:   c.Etcd.ServerName,
		Username:     c.Etcd.Username,
		PasswordFile: c.Etcd.PasswordFile,
		DialTimeout:  c.Etcd.DialTimeout.Duration,
	}
}

// newView makes the view that copy, stream and check share.
func newView(p *config.Pair) (*scope.View, error) {
	view, err := newKeyView(p)
	if err != nil {
		return nil, err
	}
	if view.Recoder, err = newRecoder(p); err != nil {
		return nil, err
	}
	view.Understood = !slices.Contains(p.Sync.Accept, "encryption")
	return view, nil
}

// newKeyView is a view that can judge keys, but no values: it needs no file
// besides the configuration.
func newKeyView(p *config.Pair) (*scope.View, error) {
	s, err := newScope(p)
	if err != nil {
		return nil, err
	}
	holds, err := newHolds(p)
	if err != nil {
		return nil, err
	}
	locals, err := newLocals(p)
	if err != nil {
		return nil, err
	}
	if err := scope.Overlap(holds, locals); err != nil {
		return nil, wrongRule(p, "local", err)
	}
	return &scope.View{Scope: s, Holds: holds, Locals: locals}, nil
}

// newHolds makes the holds that the configuration describes.
func newHolds(p *config.Pair) (*scope.Holds, error) {
	var all []scope.Hold
	if p.Hold.Defaults {
		all = scope.DefaultHolds(p.Sync.Profile)
	}
	for _, h := range p.Hold.Objects {
		hold := scope.Hold{Resources: h.Resources, Patch: json.RawMessage(h.Patch)}
		if h.When != "" {
			hold.When = json.RawMessage(h.When)
		}
		all = append(all, hold)
	}
	holds, err := scope.NewHolds(all)
	return holds, wrongRule(p, "hold", err)
}

// newLocals makes the local fields that the configuration describes.
func newLocals(p *config.Pair) (*scope.Locals, error) {
	all := scope.DefaultLocals(p.Sync.Profile)
	if tokensShared(p) {
		all = append(all, scope.TokenLocals()...)
	}
	for _, l := range p.Local {
		all = append(all, scope.Local{Resources: l.Resources, Fields: l.Fields})
	}
	locals, err := scope.NewLocals(all)
	return locals, wrongRule(p, "local", err)
}

func tokensShared(p *config.Pair) bool { return p.Sync.ServiceAccountTokens == "shared" }

// newScope makes the scope that the configuration describes.
func newScope(p *config.Pair) (*scope.Scope, error) {
	s, err := scope.New(scope.Config{
		Prefix:   p.Sync.Prefix,
		Prefixes: p.Sync.Prefixes,
		Profile:  p.Sync.Profile,

		TokensShared: tokensShared(p),
		Exclude:      scopeRules(p.Sync.Exclude),
		Include:      scopeRules(p.Sync.Include),
		Replace:      scopeRules(p.Sync.Replace),
	})
	return s, wrongRule(p, "sync", err)
}

// wrongRule says where the rule stands that an error is about; field is where
// to look for one that names none.
func wrongRule(p *config.Pair, field string, err error) error {
	if err == nil {
		return nil
	}
	at := p.At(field)
	var wrong *scope.RuleError
	if errors.As(err, &wrong) {
		at = p.At(wrong.Field)
	}
	return &remedy.Error{Op: at, Err: err, Remedy: "correct the file, then: understudy config validate --config " + p.File(), Code: remedy.Usage}
}

func scopeRules(rules []config.Rule) []scope.Rule {
	out := make([]scope.Rule, len(rules))
	for i, r := range rules {
		out[i] = scope.Rule(r)
	}
	return out
}

// newRecoder reads the EncryptionConfigurations of both sides.
func newRecoder(p *config.Pair) (*registry.Recoder, error) {
	primary, err1 := readEncryption(p, "primary.encryption", p.Primary.Encryption)
	standby, err2 := readEncryption(p, "standby.encryption", p.Standby.Encryption)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return registry.NewRecoder(primary, standby), nil
}

// readEncryption is nil without an error where no file is configured.
func readEncryption(p *config.Pair, field, file string) (*registry.Encryption, error) {
	if file == "" {
		return nil, nil
	}
	wrong := func(err error) error {
		return &remedy.Error{Op: fmt.Sprintf("%s: %s", p.At(field), field), Err: err, Code: remedy.Usage,
			Remedy: "name the file that this cluster's API servers run with (--encryption-provider-config)"}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, wrong(err)
	}
	e, err := registry.ParseEncryption(data)
	if err != nil {
		return nil, wrong(fmt.Errorf("%s: %w", file, err))
	}
	return e, nil
}
