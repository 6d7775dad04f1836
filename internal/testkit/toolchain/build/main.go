// Command build fills the cache of package toolchain ahead of the tests.
//
//	go run ./internal/testkit/toolchain/build [name...]
//
// Without names it builds everything.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/understudy-dr/understudy/internal/testkit/toolchain"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	names := os.Args[1:]
	if len(names) == 0 {
		names = toolchain.Names()
	}
	for _, name := range names {
		if _, err := toolchain.Build(ctx, name, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
