package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/internal/testkit/checker"
	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// etcdCommands give a script real etcds. NAME is mostly primary or standby.
//
//	etcd NAME [--flag...]       start one; $NAME in capitals is its endpoint, $NAME_ADDR host:port, $NAME_PORT the port
//	etcd-tls NAME [--flag...]   the same with certificates: $NAME_CA, _CERT, _KEY
//	etcd6 NAME, etcd6-tls NAME  the same on [::1]
//	expand TEMPLATE FILE        write FILE from TEMPLATE with $VARIABLES filled in
//	put NAME KEY VALUE          write a key; @FILE stands for a file's contents,
//	                            N*C for a ConfigMap padded with N times C
//	load NAME FILE              write the objects of a YAML file, see fixture.Stored
//	del NAME KEY|PREFIX/        delete a key, or all below a prefix
//	has NAME KEY|PREFIX/        it has the key, or any below the prefix
//	holds NAME KEY TEXT         the value has the text in it
//	compact NAME                forget what was before now
//	touch-below NAME PREFIX/    write the first key below a prefix as it is once more
//	truncate NAME KEY N         cut a value down to its first N bytes; -N: cut N off
//	fill [-enc FILE] NAME N     write N objects of a management cluster
//	remember NAME               all keys but Understudy's own, with values and revisions
//	unchanged NAME...           they are what they were when remembered
//	kept NAME...                so are those of then; others may have come
//	equal [CONFIG]              both sides hold the same in scope, says the checker
//	crash NAME, restart NAME [--flag...]
//	keep NAME DIR, rollback NAME DIR   copy the data directory; put the copy back
//	adopt NAME DIR              run on another data directory
var etcdCommands = map[string]func(*testscript.TestScript, bool, []string){
	"etcd": func(ts *testscript.TestScript, neg bool, args []string) { startEtcd(ts, neg, args, etcdproc.Config{}) },
	"etcd-tls": func(ts *testscript.TestScript, neg bool, args []string) {
		startEtcd(ts, neg, args, etcdproc.Config{TLS: true})
	},
	"etcd6": func(ts *testscript.TestScript, neg bool, args []string) {
		startEtcd(ts, neg, args, etcdproc.Config{Hosts: []string{"::1"}})
	},
	"etcd6-tls": func(ts *testscript.TestScript, neg bool, args []string) {
		startEtcd(ts, neg, args, etcdproc.Config{Hosts: []string{"::1"}, TLS: true})
	},
	"expand":      expandFile,
	"put":         putKey,
	"load":        loadObjects,
	"del":         deleteKeys,
	"has":         hasKeys,
	"holds":       valueHolds,
	"compact":     compactEtcd,
	"touch-below": touchBelow,
	"truncate":    truncateValue,
	"fill":        fillEtcd,
	"remember":    rememberKeys,
	"unchanged":   keysUnchanged,
	"kept":        keysKept,
	"equal":       mustBeEqual,
	"crash":       killEtcd,
	"restart":     restartEtcd,
	"keep":        keepData,
	"rollback":    rollBack,
	"adopt":       rollBack,
}

// patience bounds what a script waits for.
const patience = 60 * time.Second

// etcds are those of one script, by name.
type etcds map[string]*etcdproc.Cluster

type etcdsKey struct{}

// remembered are the contents of etcds at an earlier time, by name.
type remembered map[string]map[string]string

type rememberedKey struct{}

func etcdsOf(ts *testscript.TestScript) etcds { return ts.Value(etcdsKey{}).(etcds) }

func etcdOf(ts *testscript.TestScript, name string) *etcdproc.Cluster {
	c := etcdsOf(ts)[name]
	if c == nil {
		ts.Fatalf("no etcd %q was started", name)
	}
	return c
}

func needArgs(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

func bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func startEtcd(ts *testscript.TestScript, neg bool, args []string, kind etcdproc.Config) {
	needArgs(ts, neg, args, 1, "etcd NAME [--flag...]")
	ctx, cancel := bounded()
	defer cancel()
	name := args[0]
	if before := etcdsOf(ts)[name]; before != nil {
		before.Stop()
	}
	dir, err := os.MkdirTemp(ts.MkAbs("."), "etcd-"+name)
	ts.Check(err)
	kind.Dir, kind.Flags = dir, args[1:]
	c, err := etcdproc.Start(ctx, kind)
	ts.Check(err)
	ts.Defer(c.Stop)
	etcdsOf(ts)[name] = c
	upper := strings.ToUpper(name)
	ts.Setenv(upper, c.Endpoints()[0])
	_, addr, _ := strings.Cut(c.Endpoints()[0], "://")
	ts.Setenv(upper+"_ADDR", addr)
	ts.Setenv(upper+"_PORT", addr[strings.LastIndex(addr, ":")+1:])
	if kind.TLS {
		files := c.Files()
		ts.Setenv(upper+"_CA", files.CA)
		ts.Setenv(upper+"_CERT", files.Cert)
		ts.Setenv(upper+"_KEY", files.Key)
	}
}

func expandFile(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "expand TEMPLATE FILE")
	text := os.Expand(ts.ReadFile(args[0]), func(name string) string {
		value := ts.Getenv(name)
		if value == "" {
			ts.Fatalf("%s: $%s is not set", args[0], name)
		}
		return value
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// padded is a value of the form 70000*x.
var padded = regexp.MustCompile(`^(\d+)\*(.)$`)

func putKey(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 3, "put NAME KEY VALUE")
	ctx, cancel := bounded()
	defer cancel()
	value := args[2]
	if file, ok := strings.CutPrefix(value, "@"); ok {
		value = ts.ReadFile(file)
	} else if m := padded.FindStringSubmatch(value); m != nil {
		n, err := strconv.Atoi(m[1])
		ts.Check(err)
		value = fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"x":%q}}`, strings.Repeat(m[2], n))
	}
	_, err := etcdOf(ts, args[0]).Client().Put(ctx, args[1], value)
	ts.Check(err)
}

func loadObjects(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "load NAME FILE")
	ctx, cancel := bounded()
	defer cancel()
	pairs, err := fixture.Stored([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	for _, p := range pairs {
		_, err := etcdOf(ts, args[0]).Client().Put(ctx, p.Key, string(p.Value))
		ts.Check(err)
	}
}

func deleteKeys(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "del NAME KEY|PREFIX/")
	ctx, cancel := bounded()
	defer cancel()
	resp, err := etcdOf(ts, args[0]).Client().Delete(ctx, args[1], below(args[1])...)
	ts.Check(err)
	if resp.Deleted == 0 {
		ts.Fatalf("%s has no %s", args[0], args[1])
	}
}

func below(key string) []clientv3.OpOption {
	if strings.HasSuffix(key, "/") {
		return []clientv3.OpOption{clientv3.WithPrefix()}
	}
	return nil
}

func hasKeys(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, false, args, 2, "[!] has NAME KEY|PREFIX/")
	ctx, cancel := bounded()
	defer cancel()
	resp, err := etcdOf(ts, args[0]).Client().Get(ctx, args[1], append(below(args[1]), clientv3.WithCountOnly())...)
	ts.Check(err)
	if neg != (resp.Count == 0) {
		ts.Fatalf("%s has %d keys %s", args[0], resp.Count, args[1])
	}
}

func valueHolds(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, false, args, 3, "[!] holds NAME KEY TEXT")
	ctx, cancel := bounded()
	defer cancel()
	resp, err := etcdOf(ts, args[0]).Client().Get(ctx, args[1])
	ts.Check(err)
	if len(resp.Kvs) == 0 || neg == strings.Contains(string(resp.Kvs[0].Value), args[2]) {
		ts.Fatalf("%s: %s is %.300v", args[0], args[1], resp.Kvs)
	}
}

func compactEtcd(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "compact NAME")
	ctx, cancel := bounded()
	defer cancel()
	client := etcdOf(ts, args[0]).Client()
	now, err := client.Get(ctx, "/")
	ts.Check(err)
	_, err = client.Compact(ctx, now.Header.Revision)
	ts.Check(err)
}

func touchBelow(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "touch-below NAME PREFIX/")
	ctx, cancel := bounded()
	defer cancel()
	client := etcdOf(ts, args[0]).Client()
	resp, err := client.Get(ctx, args[1], clientv3.WithPrefix(), clientv3.WithLimit(1))
	ts.Check(err)
	if len(resp.Kvs) == 0 {
		ts.Fatalf("%s has nothing below %s", args[0], args[1])
	}
	_, err = client.Put(ctx, string(resp.Kvs[0].Key), string(resp.Kvs[0].Value))
	ts.Check(err)
}

func truncateValue(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 3, "truncate NAME KEY N")
	ctx, cancel := bounded()
	defer cancel()
	client := etcdOf(ts, args[0]).Client()
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	resp, err := client.Get(ctx, args[1])
	ts.Check(err)
	if len(resp.Kvs) == 1 && n < 0 {
		n += len(resp.Kvs[0].Value)
	}
	if len(resp.Kvs) == 0 || len(resp.Kvs[0].Value) <= n {
		ts.Fatalf("%s has no %s of more than %d bytes", args[0], args[1], n)
	}
	_, err = client.Put(ctx, args[1], string(resp.Kvs[0].Value[:n]))
	ts.Check(err)
}

func fillEtcd(ts *testscript.TestScript, neg bool, args []string) {
	flags := flag.NewFlagSet("fill", flag.ContinueOnError)
	enc := flags.String("enc", "", "EncryptionConfiguration")
	ts.Check(flags.Parse(args))
	needArgs(ts, neg, flags.Args(), 2, "fill [-enc FILE] NAME N")
	ctx, cancel := bounded()
	defer cancel()
	client := etcdOf(ts, flags.Arg(0)).Client()
	n, err := strconv.Atoi(flags.Arg(1))
	ts.Check(err)
	options := fixture.Options{Seed: 1, Objects: n}
	if *enc != "" {
		options.Encryption, err = registry.ParseEncryption([]byte(ts.ReadFile(*enc)))
		ts.Check(err)
	}
	var ops []clientv3.Op
	for p := range fixture.Generate(options) {
		ops = append(ops, clientv3.OpPut(p.Key, string(p.Value)))
	}
	for some := range slices.Chunk(ops, 100) {
		_, err := client.Txn(ctx).Then(some...).Commit()
		ts.Check(err)
	}
}

// contents are the keys outside /understudy/ with everything that etcd knows of them.
func contents(ts *testscript.TestScript, name string) map[string]string {
	ctx, cancel := bounded()
	defer cancel()
	resp, err := etcdOf(ts, name).Client().Get(ctx, "\x00", clientv3.WithFromKey())
	ts.Check(err)
	all := map[string]string{}
	for _, p := range resp.Kvs {
		if key := string(p.Key); !strings.HasPrefix(key, "/understudy/") {
			all[key] = fmt.Sprintf("created %d modified %d version %d lease %x %q", p.CreateRevision, p.ModRevision, p.Version, p.Lease, p.Value)
		}
	}
	return all
}

func rememberedOf(ts *testscript.TestScript, name string) map[string]string {
	all := ts.Value(rememberedKey{}).(remembered)
	if all[name] == nil {
		all[name] = map[string]string{}
	}
	return all[name]
}

func rememberKeys(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "remember NAME")
	clear(rememberedOf(ts, args[0]))
	maps.Copy(rememberedOf(ts, args[0]), contents(ts, args[0]))
}

func keysUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "unchanged NAME...")
	for _, name := range args {
		was, is := rememberedOf(ts, name), contents(ts, name)
		for key, value := range is {
			if was[key] != value {
				ts.Fatalf("%s: %s was %.300s\nand is %.300s", name, key, was[key], value)
			}
		}
		for key := range was {
			if _, there := is[key]; !there {
				ts.Fatalf("%s: %s is gone", name, key)
			}
		}
	}
}

func keysKept(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "kept NAME...")
	for _, name := range args {
		is := contents(ts, name)
		for key, value := range rememberedOf(ts, name) {
			if is[key] != value {
				ts.Fatalf("%s: %s was %.300s\nand is %.300s", name, key, value, is[key])
			}
		}
	}
}

// mustBeEqual compares what both etcds hold now. The configuration says what
// takes part and which keys decrypt it.
func mustBeEqual(ts *testscript.TestScript, neg bool, args []string) {
	file := "understudy.yaml"
	if len(args) > 0 {
		file = args[0]
	}
	pair, err := config.Load(ts.MkAbs(file))
	ts.Check(err)
	view, err := newView(pair)
	ts.Check(err)
	ctx, cancel := bounded()
	defer cancel()
	look := func(side checker.Side) func(string, []byte) (scope.Object, error) {
		if side == checker.Destination {
			return view.InStandby
		}
		return view.InPrimary
	}
	differences, err := checker.Equal(ctx, etcdOf(ts, "primary").Client(), etcdOf(ts, "standby").Client(), pair.Sync.Prefix, 0, 0,
		checker.Options{
			Ignore: func(key string) bool { return view.Scope.Key(key) == scope.Out },
			Out: func(side checker.Side, key string, value []byte) bool {
				object, err := look(side)(key, value)
				return err == nil && !object.In
			},
			Normalize: func(side checker.Side, key string, value []byte) ([]byte, error) {
				object, err := look(side)(key, value)
				switch {
				case err != nil:
					return nil, err
				case object.Plain == nil:
					return value, nil
				}
				return object.Plain, nil
			},
		})
	ts.Check(err)
	if neg != (len(differences) > 0) {
		ts.Fatalf("%d differences: %v", len(differences), differences)
	}
}

func killEtcd(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "crash NAME")
	etcdOf(ts, args[0]).Kill()
}

func restartEtcd(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "restart NAME [--flag...]")
	ctx, cancel := bounded()
	defer cancel()
	c := etcdOf(ts, args[0])
	c.SetFlags(args[1:]...)
	ts.Check(c.Restart(ctx))
}

// keepData copies the data directory of an etcd that is down meanwhile.
func keepData(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "keep NAME DIR")
	ctx, cancel := bounded()
	defer cancel()
	c := etcdOf(ts, args[0])
	c.Kill()
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(c.DataDir(0))))
	ts.Check(c.Restart(ctx))
}

func rollBack(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "rollback NAME DIR")
	ctx, cancel := bounded()
	defer cancel()
	c := etcdOf(ts, args[0])
	c.Kill()
	ts.Check(os.RemoveAll(c.DataDir(0)))
	ts.Check(os.CopyFS(c.DataDir(0), os.DirFS(ts.MkAbs(args[1]))))
	ts.Check(filepath.WalkDir(c.DataDir(0), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700) // etcd insists
		}
		return err
	}))
	ts.Check(c.Restart(ctx))
}
