package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/understudy-dr/understudy/internal/testkit/certs"
	"github.com/understudy-dr/understudy/internal/testkit/etcdproc"
	"github.com/understudy-dr/understudy/internal/testkit/toolchain"
)

// alarmCommands are about the members of an etcd.
//
//	etcd-members NAME N [HOST...]   start one of N members, on these loopback addresses in
//	                      turn; $NAME is all their endpoints, each quoted
//	overfill NAME KEY     write it over and over until the member says that it is full
//	alarm NAME KIND       raise NOSPACE or CORRUPT on the first member
//	certs DIR             ca.crt, client.crt and .key, other.crt and .key, expired.crt and .key
//	expire NAME DIR       client.crt and .key by the CA of an etcd with TLS, expired
//	renew NAME DIR        the same, good for a day
//	paste FILE RULE [N]   run what etcdctl commands the JSON of status, check, preflight or
//	                      simulate in FILE names for a rule, check or finding, as they are
//	                      printed; of a finding for its first object. N: the Nth alone. With
//	                      the JSON of check its remedy, whatever RULE is
//	empty NAME N          stop the Nth member (from 0) and take its data away
//	rejoin NAME N         start it again with --initial-cluster-state=existing
var alarmCommands = map[string]func(*testscript.TestScript, bool, []string){
	"etcd-members": startMembers,
	"overfill":     overfill,
	"alarm":        raiseAlarm,
	"certs":        issueCertificates,
	"expire":       func(ts *testscript.TestScript, neg bool, args []string) { issueClient(ts, neg, args, time.Nanosecond) },
	"renew":        func(ts *testscript.TestScript, neg bool, args []string) { issueClient(ts, neg, args, 24*time.Hour) },
	"paste":        pasteCommands,
	"empty":        emptyMember,
	"rejoin":       rejoinMember,
}

func startMembers(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "etcd-members NAME N [HOST...]")
	ctx, cancel := bounded()
	defer cancel()
	dir, err := os.MkdirTemp(ts.MkAbs("."), "etcd-"+args[0])
	ts.Check(err)
	c, err := etcdproc.Start(ctx, etcdproc.Config{Dir: dir, Members: int(args[1][0] - '0'), Hosts: args[2:]})
	ts.Check(err)
	ts.Defer(c.Stop)
	etcdsOf(ts)[args[0]] = c
	ts.Setenv(strings.ToUpper(args[0]), `"`+strings.Join(c.Endpoints(), `","`)+`"`)
}

func issueCertificates(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 1, "certs DIR")
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ca, err := certs.NewCA("etcd")
	ts.Check(err)
	ts.Check(ca.WriteFile(filepath.Join(dir, "ca.crt")))
	for name, lifetime := range map[string]time.Duration{"client": time.Hour, "other": time.Hour, "expired": time.Nanosecond} {
		cert, err := ca.Issue(certs.Leaf{CommonName: name, Lifetime: lifetime})
		ts.Check(err)
		ts.Check(cert.WriteFiles(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")))
	}
}

func issueClient(ts *testscript.TestScript, neg bool, args []string, lifetime time.Duration) {
	needArgs(ts, neg, args, 2, "expire|renew NAME DIR")
	dir := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o755))
	cert, err := etcdOf(ts, args[0]).CA().Issue(certs.Leaf{CommonName: "client", Lifetime: lifetime})
	ts.Check(err)
	ts.Check(cert.WriteFiles(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")))
}

func raiseAlarm(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "alarm NAME KIND")
	ctx, cancel := bounded()
	defer cancel()
	client := etcdOf(ts, args[0]).Client()
	status, err := client.Status(ctx, client.Endpoints()[0])
	ts.Check(err)
	_, err = pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(ctx, &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, MemberID: status.Header.MemberId, Alarm: pb.AlarmType(pb.AlarmType_value[args[1]])})
	ts.Check(err)
}

var (
	lastCommand = regexp.MustCompile(`etcdctl --.*$`)
	atRevision  = regexp.MustCompile(`is at revision (\d+)`)
)

func overfill(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "overfill NAME KEY")
	ctx, cancel := bounded()
	defer cancel()
	client := etcdOf(ts, args[0]).Client()
	value := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"x":%q}}`, strings.Repeat("x", 200<<10))
	for {
		_, err := client.Put(ctx, args[1], value)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return
		}
		ts.Check(err)
	}
}

// notYet is what etcd answers while it elects a leader, and before its members have been
// connected for five seconds.
var notYet = regexp.MustCompile(`unhealthy cluster|context deadline exceeded|leader changed`)

func pasteCommands(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, 2, "paste FILE RULE [N]")
	var said struct {
		Reasons []struct{ Rule, Next string }
		Lines   []struct{ Check, Remedy string }

		Findings []struct {
			Finding, Remedy string
			Objects         []struct{ Key, Why string }
		}
		Remedy string
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &said))
	text := said.Remedy + "\n"
	for _, r := range said.Reasons {
		if r.Rule == args[1] {
			text += r.Next + "\n"
		}
	}
	for _, l := range said.Lines {
		if l.Check == args[1] {
			text += l.Remedy + "\n"
		}
	}
	for _, f := range said.Findings {
		if command := lastCommand.FindString(f.Remedy); f.Finding == args[1] && command != "" {
			at := atRevision.FindStringSubmatch(f.Objects[0].Why)
			if at == nil {
				ts.Fatalf("no revision in %q", f.Objects[0].Why)
			}
			text += strings.NewReplacer("KEY", f.Objects[0].Key, "REVISION", at[1]).Replace(command) + "\n"
		}
	}
	etcdctl, err := toolchain.Path(context.Background(), "etcdctl@3.6")
	ts.Check(err)
	bin := filepath.Join(ts.MkAbs("."), "pasted")
	ts.Check(os.MkdirAll(bin, 0o755))
	_ = os.Symlink(etcdctl, filepath.Join(bin, "etcdctl"))
	ran := 0
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "etcdctl ") {
			continue
		}
		ran++
		if len(args) > 2 && args[2] != strconv.Itoa(ran) {
			continue
		}
		again := false
		until(ts, lines.Text()+" is done", func(context.Context) error {
			cmd := exec.Command("sh", "-c", lines.Text())
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil && notYet.Match(out) {
				again = true
				return fmt.Errorf("%w: %s", err, out)
			}
			if again && bytes.Contains(out, []byte("already exists")) { // it had gone through
				err = nil
			}
			ts.Logf("> %s\n%s", lines.Text(), out)
			ts.Check(err)
			return nil
		})
	}
	if ran == 0 {
		ts.Fatalf("nothing to paste for %s in %q", args[1], text)
	}
}

func memberOf(ts *testscript.TestScript, neg bool, args []string) (*etcdproc.Cluster, int) {
	needArgs(ts, neg, args, 2, "empty|rejoin NAME N")
	i, err := strconv.Atoi(args[1])
	ts.Check(err)
	return etcdOf(ts, args[0]), i
}

func emptyMember(ts *testscript.TestScript, neg bool, args []string) {
	c, i := memberOf(ts, neg, args)
	c.KillMember(i)
	ts.Check(os.RemoveAll(c.DataDir(i)))
}

func rejoinMember(ts *testscript.TestScript, neg bool, args []string) {
	c, i := memberOf(ts, neg, args)
	ctx, cancel := bounded()
	defer cancel()
	c.SetFlags("--initial-cluster-state=existing")
	ts.Check(c.RestartMember(ctx, i))
}
