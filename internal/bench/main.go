// Command bench measures understudy beside its peers: `etcdctl make-mirror`,
// and the bare ceiling, which moves the same bytes with no logic at all.
//
// Everything runs in one go on this machine's loopback: real etcds that are
// started for each row and wait for the disk (fsync), and every contestant as
// a process of its own, timed from its start. What was measured, the bar and
// the verdict come as a table on standard output and as JSON in a file.
//
// One file per row: row_*.go. TMPDIR chooses the disk. Nothing outlives the run.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-dr/understudy/internal/testkit/toolchain"
)

// rows are what can be measured, in the order in which it is.
var rows = []row{
	{"copy", "first copy", (*bench).firstCopy},
	{"catchup", "catching up", (*bench).catchUp},
	{"lag", "lag at a steady rate", (*bench).steadyLag},
	{"restart", "restart, nothing changed", (*bench).restart},
	{"resync", "resync after a compaction", (*bench).resync},
	{"check", "deep check", (*bench).deepCheck},
	{"memory", "peak memory", (*bench).memory},
}

type row struct {
	name, title string
	measure     func(*bench, context.Context, *Result) error
}

type options struct {
	run          string
	scale        float64
	rounds       int
	mirrorRounds int
	duration     time.Duration
	million      bool
	understudy   string
	profiles     string
	json         string
	timeout      time.Duration
}

func main() {
	if mode := os.Getenv(childEnv); mode != "" {
		os.Exit(runChild(mode))
	}
	var o options
	flag.StringVar(&o.run, "run", "", "rows to measure, by name or number, with commas; all if empty: "+rowNames())
	flag.Float64Var(&o.scale, "scale", 1, "factor for the numbers of keys and revisions")
	flag.IntVar(&o.rounds, "rounds", 3, "how often the short measurements are repeated")
	flag.IntVar(&o.mirrorRounds, "mirror-rounds", 1, "how often make-mirror's long ones are")
	flag.DurationVar(&o.duration, "duration", 30*time.Second, "how long the steady writing lasts")
	flag.BoolVar(&o.million, "million", false, "measure the memory at 1,000,000 keys too")
	flag.StringVar(&o.understudy, "understudy", "", "program to measure; built from ./cmd/understudy if empty, \"self\" for the library inside this program")
	flag.StringVar(&o.profiles, "cpuprofile", "", "directory for CPU profiles of understudy's part in copy, catchup and check; implies -understudy self")
	flag.StringVar(&o.json, "json", "bench.json", "file for the results; none if empty")
	flag.DurationVar(&o.timeout, "timeout", time.Hour, "bound of the whole run")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// bench is one run of the program.
type bench struct {
	options
	progress   io.Writer
	dir        string // logs, configurations, generated objects; removed at the end
	etcdctl    string
	understudy understudy
	objects    *objects
	children   int // numbers the logs
}

func run(ctx context.Context, o options, out, progress io.Writer) error {
	chosen, err := choose(o.run)
	if err != nil {
		return err
	}
	if o.scale <= 0 || o.rounds < 1 || o.mirrorRounds < 1 {
		return fmt.Errorf("-scale, -rounds and -mirror-rounds must be positive")
	}
	b := &bench{options: o, progress: progress}
	if b.dir, err = os.MkdirTemp("", "understudy-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.profiles != "" {
		if err := os.MkdirAll(b.profiles, 0o755); err != nil {
			return err
		}
	}
	for name, path := range map[string]*string{"etcd@3.6": new(string), "etcdctl@3.6": &b.etcdctl} {
		if *path, err = toolchain.Build(ctx, name, progress); err != nil {
			return err
		}
	}
	if b.understudy, err = findUnderstudy(ctx, b); err != nil {
		return err
	}
	if b.objects, err = newObjects(filepath.Join(b.dir, "objects")); err != nil {
		return err
	}
	defer b.objects.close()

	report := newReport(b)
	for _, r := range chosen {
		result := &Result{Row: r.name, Title: r.title, Load: loadAverage()}
		b.say("%s", r.title)
		began := time.Now()
		err := r.measure(b, ctx, result)
		result.Took = seconds(time.Since(began))
		if err != nil {
			result.Error = err.Error()
			b.say("  %s", err)
		}
		report.Rows = append(report.Rows, result)
		if ctx.Err() != nil {
			break
		}
	}
	report.finish()
	report.print(out)
	if o.json != "" {
		if err := report.write(o.json); err != nil {
			return err
		}
	}
	return report.failed()
}

// choose picks the rows that the flag names.
func choose(names string) ([]row, error) {
	if names == "" {
		return rows, nil
	}
	var chosen []row
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for i, r := range rows {
			if name == r.name || name == fmt.Sprint(i+1) {
				chosen, found = append(chosen, r), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no row %q; there are %s", name, rowNames())
		}
	}
	return chosen, nil
}

func rowNames() string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ")
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// scaled is a number of keys or revisions at the chosen scale.
func (b *bench) scaled(n int) int { return max(1, int(float64(n)*b.scale)) }

// profile is the file for the CPU profile of a row, "" where none is wanted.
func (b *bench) profile(row string) string {
	if b.profiles == "" {
		return ""
	}
	return filepath.Join(b.profiles, row+".prof")
}
