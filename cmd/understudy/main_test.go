package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
)

func TestExitCode(t *testing.T) {
	unknown := &remedy.Error{Err: errors.New("no answer"), Code: remedy.Unknown}
	for name, tc := range map[string]struct {
		err         error
		interrupted bool
		want        remedy.Code
	}{
		"fine":                          {nil, false, remedy.OK},
		"a daemon that was told to end": {nil, true, remedy.OK},
		"plain error":                   {io.EOF, false, remedy.Failed},
		"its own status":                {fmt.Errorf("apply: %w", unknown), false, remedy.Unknown},
		"interrupted":                   {fmt.Errorf("read: %w", context.Canceled), true, remedy.Cancelled},
		"interrupted, outcome unknown":  {unknown, true, remedy.Unknown},
		"said on stdout":                {exitWith(remedy.Mismatch), false, remedy.Mismatch},
		"said, then interrupted":        {exitWith(remedy.Mismatch), true, remedy.Mismatch},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			if tc.interrupted {
				cancel()
			}
			defer cancel()
			if got := exitCode(ctx, tc.err); got != tc.want {
				t.Errorf("exit status %d, want %d", got, tc.want)
			}
		})
	}
}

func TestPrintError(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"none":           {nil, ""},
		"plain":          {io.EOF, "error: EOF\n"},
		"with remedy":    {&remedy.Error{Op: "read", Err: io.EOF, Remedy: "look"}, "error: read: EOF\n  remedy: look\n"},
		"several lines":  {errors.Join(io.EOF, &remedy.Error{Err: io.ErrNoProgress, Remedy: "a\nb"}), "error: EOF\n       multiple Read calls return no data or error\n  remedy: a\n          b\n"},
		"said on stdout": {exitWith(3), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			printError(&out, tc.err)
			if out.String() != tc.want {
				t.Errorf("printed %q, want %q", out.String(), tc.want)
			}
		})
	}
}

// Every command can be found in the help, says what it does, and belongs to a
// group.
func TestEveryCommandIsDescribed(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no description", cmd.CommandPath())
		}
		if cmd.Parent() != nil && !cmd.Parent().HasParent() && cmd.GroupID == "" {
			t.Errorf("%s is in no group", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRootCmd())
}

// Package config may not import scope, and repeats what it has to know of it.
func TestConfigKnowsTheProfiles(t *testing.T) {
	if !slices.Equal(config.Profiles, scope.Profiles()) {
		t.Errorf("config knows %q, scope %q", config.Profiles, scope.Profiles())
	}
}
