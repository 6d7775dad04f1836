package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/understudy-dr/understudy/remedy"
)

// canAsk reports whether somebody sits at the other end.
func canAsk(stdin io.Reader) bool {
	f, ok := stdin.(*os.File)
	return ok && isTerminal(f)
}

// confirm says what op is about to do and asks for the cluster's name. It ends with
// ctx as well. Reading a terminal cannot be cut off: the reader is left to the end of
// the process, which follows.
func confirm(ctx context.Context, stdin io.Reader, stderr io.Writer, op, what, name string) error {
	fmt.Fprint(stderr, what+" Type its name to go on: ")
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdin).ReadString('\n')
		typed <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(stderr)
		return &remedy.Error{Op: op, Err: ctx.Err(), Remedy: "nothing was changed"}
	case line := <-typed:
		if line != name {
			return &remedy.Error{Op: op, Err: errors.New("not confirmed; nothing was changed"), Code: remedy.Refused}
		}
	}
	return nil
}
