package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/remedy"
)

// defaultConfigFile is read when neither --config nor UNDERSTUDY_CONFIG says
// otherwise.
const defaultConfigFile = "understudy.yaml"

// app is what all commands share. Commands get it when they are made and read
// it when they run: before that, the flags have not been parsed.
type app struct {
	configFlag string
	verbose    bool
	log        *slog.Logger // to stderr
}

// commandGroups is the whole command line, in the order that help shows it.
var commandGroups = []struct {
	title    string
	commands []func(*app) *cobra.Command
}{
	{"Begin:", []func(*app) *cobra.Command{newDemoCmd, newInitCmd, newConfigCmd, newPreflightCmd}},
	{"Replicate:", []func(*app) *cobra.Command{newSyncCmd, newPauseCmd, newResumeCmd, newHoldCmd, newScopeCmd, newForgetCmd}},
	{"Prove and repair:", []func(*app) *cobra.Command{newStatusCmd, newCheckCmd, newRepairCmd, newSimulateCmd, newFloorCmd}},
	{"More:", []func(*app) *cobra.Command{newVersionCmd}}, // help and completion join the last group
}

func newRootCmd() *cobra.Command {
	a := &app{log: slog.New(slog.DiscardHandler)}
	root := &cobra.Command{
		Use:   "understudy",
		Short: "Keep a standby Kubernetes management cluster ready to take the stage",
		Long: `Understudy replicates the etcd of a primary Kubernetes cluster to a standby in
real time and proves at any moment that the standby is equal.

Exit status: 0 ok, 1 failed, 2 wrong usage or configuration, 3 degraded,
4 refused as unsafe, 5 lost a race, 6 the two sides differ, 7 outcome unknown,
8 wrong key or credentials, 130 interrupted.`,
		Version:       readBuild().text(),
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			level := slog.LevelInfo
			if a.verbose {
				level = slog.LevelDebug
			}
			a.log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
		},
	}
	root.PersistentFlags().StringVar(&a.configFlag, "config", "", "configuration `FILE` (default $UNDERSTUDY_CONFIG, then "+defaultConfigFile+")")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log more to stderr")
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml") // fails for an unknown flag only

	for _, g := range commandGroups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, newCmd := range g.commands {
			cmd := newCmd(a)
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
		root.SetHelpCommandGroupID(g.title)
		root.SetCompletionCommandGroupID(g.title)
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetFlagErrorFunc(usageError)
	usageErrors(root)
	return root
}

// usageErrors makes wrong arguments end with remedy.Usage in cmd and all
// commands below it.
func usageErrors(cmd *cobra.Command) {
	if cmd.HasSubCommands() && cmd.Run == nil && cmd.RunE == nil {
		cmd.Args = unknownCommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	} else if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError(cmd, err)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		usageErrors(sub)
	}
}

// unknownCommand refuses the arguments of a command that only has commands.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usageError(cmd, fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint))
}

func usageError(cmd *cobra.Command, err error) error {
	return &remedy.Error{Err: err, Remedy: "see: " + cmd.CommandPath() + " --help", Code: remedy.Usage}
}

// configFile is the configuration file that the command line names.
func (a *app) configFile() string {
	for _, file := range []string{a.configFlag, os.Getenv("UNDERSTUDY_CONFIG")} {
		if file != "" {
			return file
		}
	}
	return defaultConfigFile
}

func (a *app) loadConfig() (*config.Pair, error) { return config.Load(a.configFile()) }

// indent puts two spaces before every line, for examples in help.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}
