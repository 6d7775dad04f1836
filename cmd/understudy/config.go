package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/kube"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
)

func newConfigCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check the configuration, show it, or explain what it does to a key",
		Long:  "All three read the configuration only; none reaches a cluster.",
	}
	cmd.AddCommand(newConfigValidateCmd(a), newConfigViewCmd(a), newConfigExplainCmd(a))
	return cmd
}

func newConfigValidateCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration and the files that it names",
		Long: "Reports every mistake with its line, and files that are missing or not what they\nshould be: certificates, their keys, kubeconfigs, encryption, passwords. It\nconnects to nothing.\n\n" +
			"Exit status: 0 valid, 2 not.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runConfigValidate(cmd.OutOrStdout(), a)
		},
	}
}

func runConfigValidate(out io.Writer, a *app) error {
	p, err := a.loadConfig()
	if err != nil {
		return err
	}
	_, scopeErr := newScope(p)
	_, holdsErr := newHolds(p)
	_, localsErr := newLocals(p)
	filesErr := p.WrongFiles(time.Now())
	if filesErr == nil {
		_, filesErr = newRecoder(p)
		filesErr = errors.Join(filesErr, wrongKubeconfig(p, "primary.kubeconfig", p.Primary.Kubeconfig), wrongKubeconfig(p, "standby.kubeconfig", p.Standby.Kubeconfig))
	}
	if err := errors.Join(scopeErr, holdsErr, localsErr, filesErr, wrongSkips(p)); err != nil {
		return err
	}
	if _, err := newKeyView(p); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is valid: pair %s, primary %s, standby %s\n", p.File(), p.Metadata.Name, p.Primary.Name, p.Standby.Name)
	return err
}

// wrongKubeconfig reads a kubeconfig, and says where it is named.
func wrongKubeconfig(p *config.Pair, field, file string) error {
	if file == "" {
		return nil
	}
	_, err := kube.Open(file)
	if err == nil {
		return nil
	}
	return &remedy.Error{Op: fmt.Sprintf("%s: %s: %s", p.At(field), field, file), Err: errors.Unwrap(err), Remedy: remedy.Of(err), Code: remedy.Usage}
}

func newConfigViewCmd(a *app) *cobra.Command {
	out := output("yaml")
	cmd := &cobra.Command{
		Use:   "view",
		Short: "Print the configuration as it takes effect, with every default",
		Long:  "Secrets are never read; only the paths of their files are shown.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.loadConfig()
			if err != nil {
				return err
			}
			if out == "yaml" {
				out = "table" // the same, in the order of the file
			}
			return out.write(cmd.OutOrStdout(), view{p})
		},
	}
	addOutputFlag(cmd, &out)
	return cmd
}

// view is a Pair as a report. Its table is YAML in the order of the file.
type view struct{ *config.Pair }

func (v view) writeTable(w io.Writer) error {
	data, err := v.YAML()
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func newConfigExplainCmd(a *app) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "explain KEY",
		Short: "Say whether an etcd key is replicated, which rule decides, and what is held or local of it",
		Example: indent(`
understudy config explain /registry/deployments/team-a/web
understudy config explain /registry/cluster.x-k8s.io/machines/prod/worker-1`),
		Args: oneKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.loadConfig()
			if err != nil {
				return err
			}
			v, err := newKeyView(p)
			if err != nil {
				return err
			}
			return out.write(cmd.OutOrStdout(), explain(v, args[0]))
		},
	}
	addOutputFlag(cmd, &out)
	return cmd
}

// oneKey says what a KEY is to somebody who gave none.
func oneKey(_ *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf(`config explain takes one etcd key, not %d; keys look like
  /registry/configmaps/NAMESPACE/NAME                  what is built in
  /registry/namespaces/NAME                            what is in no namespace
  /registry/cluster.x-k8s.io/machines/NAMESPACE/NAME   what a CRD defines, with its group
understudy check and simulate print the key beside each object, and all there are:
  etcdctl get --prefix --keys-only /registry/
The fields of the configuration itself: docs/configuration.md, or understudy init`, len(args))
}

type explanation struct {
	Key       string   `json:"key"`
	Object    string   `json:"object,omitempty"` // "" when the key is no object's
	Verdict   string   `json:"verdict"`          // replicated, excluded, depends
	Rule      string   `json:"rule"`
	Why       string   `json:"why"`
	Overruled []string `json:"overruled"` // the strongest first
	// What the standby has otherwise than the primary; empty where the key is excluded.
	Held  []heldBy  `json:"held"`
	Local []localOf `json:"local"`
}

// heldBy is one hold of an object.
type heldBy struct {
	Patch json.RawMessage `json:"patch"`
	When  json.RawMessage `json:"when,omitempty"` // what an object looks like that is held; absent = any
	From  string          `json:"from"`
}

// localOf is one local field of an object.
type localOf struct {
	Field string   `json:"field"`
	Types []string `json:"types,omitempty"` // only of Secrets of these types
	From  string   `json:"from"`
}

func explain(v *scope.View, key string) explanation {
	s := v.Scope
	e := s.Explain(key)
	out := explanation{
		Key: key, Rule: e.Rule, Why: e.Why, Overruled: append([]string{}, e.Also...),
		Held: []heldBy{}, Local: []localOf{},
		Verdict: map[scope.Verdict]string{scope.In: "replicated", scope.Out: "excluded", scope.AskObject: "depends"}[e.Verdict],
	}
	if k, ok := s.Parse(key); ok {
		out.Object = registry.Kind(k.GroupResource()) + " " + strings.TrimPrefix(k.Namespace+"/"+k.Name, "/")
		if e.Verdict == scope.Out {
			return out
		}
		for _, h := range v.Holds.Of(k.GroupResource()) {
			out.Held = append(out.Held, heldBy{h.Patch, h.When, h.Origin})
		}
		for _, l := range v.Locals.Of(k.GroupResource()) {
			out.Local = append(out.Local, localOf{l.Fields[0], l.Types, l.Origin})
		}
	}
	return out
}

func onlyWhen(when json.RawMessage) string {
	if when == nil {
		return ""
	}
	return " where it is like " + string(when)
}

func (e explanation) writeTable(w io.Writer) error {
	var b strings.Builder
	line := func(label, text string) { fmt.Fprintf(&b, "%-11s%s\n", label, text) }
	line("key", e.Key)
	line("object", cmp.Or(e.Object, "none; not a key of an API server"))
	line("verdict", e.Verdict)
	line("rule", e.Rule)
	line("why", e.Why)
	for i, r := range e.Overruled {
		line([]string{"overruled", ""}[min(i, 1)], r)
	}
	for i, h := range e.Held {
		line([]string{"held by", ""}[min(i, 1)], fmt.Sprintf("%s%s (%s)", h.Patch, onlyWhen(h.When), h.From))
	}
	for i, l := range e.Local {
		of := ""
		if l.Types != nil {
			of = " of " + strings.Join(l.Types, ", ")
		}
		line([]string{"local", ""}[min(i, 1)], fmt.Sprintf("%s%s (%s)", l.Field, of, l.From))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
