package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// output is the form in which a command prints facts: the flag -o.
type output string

var outputs = []string{"table", "json", "yaml"}

// addOutputFlag gives cmd the flag -o. *o is its default; "" means table.
func addOutputFlag(cmd *cobra.Command, o *output) {
	if *o == "" {
		*o = "table"
	}
	cmd.Flags().VarP(o, "output", "o", "`FORM` of the output: "+strings.Join(outputs, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp)) // fails for an unknown flag only
}

// String, Set and Type make output a pflag.Value.
func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "FORM" }

func (o *output) Set(s string) error {
	if !slices.Contains(outputs, s) {
		return fmt.Errorf("it may be %s", strings.Join(outputs, ", "))
	}
	*o = output(s)
	return nil
}

// report is what a command found out. Its JSON fields are a contract;
// writeTable shows the same facts to people.
type report interface {
	writeTable(w io.Writer) error
}

// write prints r in the form that was asked for.
func (o output) write(w io.Writer, r report) error {
	switch o {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	case "yaml":
		data, err := yaml.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
		_, err = w.Write(data)
		return err
	}
	return r.writeTable(w)
}

// plural is "1 key is" or "2 keys are", by the number.
func plural[N ~int | ~int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
