package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/remedy"
)

func newInitCmd(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented configuration to start from",
		Long: "Writes to --config, which is " + defaultConfigFile + " by default, and leaves a file\n" +
			"that is already there alone.\n\nExit status: 0 written, 4 the file exists.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file := a.configFile()
			if err := writeNew(file, config.Template(), force); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote %s; fill in both clusters, then: understudy config validate --config %s\n", file, file)
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that exists")
	return cmd
}

// writeNew writes a file that is there whole or not at all, after a crash too.
// Without replace it refuses to touch one that exists.
func writeNew(file string, data []byte, replace bool) (err error) {
	op := "write " + file
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return &remedy.Error{Op: op, Err: err, Remedy: "create the directory first"}
	}
	defer dir.Close()
	temp, err := os.CreateTemp(dir.Name(), ".understudy-*")
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer os.Remove(temp.Name()) // after a rename there is nothing left to remove
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	// A link, unlike a rename, never replaces.
	put := os.Link
	if replace {
		put = os.Rename
	}
	switch err := put(temp.Name(), file); {
	case errors.Is(err, fs.ErrExist):
		return &remedy.Error{Op: op, Err: errors.New("the file exists"), Remedy: "choose another with --config, or replace it with --force", Code: remedy.Refused}
	case err != nil:
		return fmt.Errorf("%s: %w", op, err)
	}
	return dir.Sync()
}
