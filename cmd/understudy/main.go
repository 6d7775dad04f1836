// Command understudy keeps a standby Kubernetes management cluster in step
// with its primary, and proves it.
//
// One file per command. Data goes to stdout; logs, progress and errors go to
// stderr. Only this file turns an error into an exit status.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/remedy"
)

func main() {
	os.Exit(int(run(os.Args[1:], os.Stdout, os.Stderr)))
}

// run executes one command line. SIGINT and SIGTERM cancel the command's
// context; a second one ends the process at once.
func run(args []string, stdout, stderr io.Writer) remedy.Code {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRootCmd()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := explainDenied(root.ExecuteContext(ctx))
	code := exitCode(ctx, err)
	if code == remedy.Cancelled {
		err = &remedy.Error{Err: errors.New("interrupted"), Remedy: remedy.Of(err)}
	}
	printError(stderr, err)
	return code
}

// explainDenied gives what etcd refused for want of permission its status and its
// remedy, whichever request it was.
func explainDenied(err error) error {
	if cluster.IsDenied(err) && remedy.CodeOf(err) == remedy.Failed {
		return cluster.Denied("", err)
	}
	return err
}

// exitWith ends a command with a status when its output on stdout has said
// all there is to say: nothing more is printed.
type exitWith remedy.Code

func (e exitWith) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitCode is the one switch from an error to the exit status. An interrupted
// command ends with Cancelled, unless its error asks for a status of its own:
// "outcome unknown" stays that. A daemon that was told to end returns nil.
func exitCode(ctx context.Context, err error) remedy.Code {
	var said exitWith
	switch code := remedy.CodeOf(err); {
	case err == nil:
		return remedy.OK
	case errors.As(err, &said):
		return remedy.Code(said)
	case code == remedy.Failed && ctx.Err() != nil:
		return remedy.Cancelled
	default:
		return code
	}
}

// printError writes "error: …" and, where there is one, "  remedy: …". Further
// lines of either are indented below the first.
func printError(w io.Writer, err error) {
	var said exitWith
	if err == nil || errors.As(err, &said) {
		return
	}
	block := func(label, text string) {
		text = strings.TrimRight(text, "\n")
		fmt.Fprintln(w, label+strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", len(label))))
	}
	block("error: ", err.Error())
	if r := remedy.Of(err); r != "" {
		block("  remedy: ", r)
	}
}
