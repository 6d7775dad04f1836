// Package datadir makes data directories for an etcd, with its revision lifted,
// looks into the one of an etcd that has ended, and puts a new one in its place.
//
// A directory that Prepare returns is complete and on the disk; where it fails,
// there is none. Swap leaves either the old data or the new in place, never a
// mixture, and keeps the old beside the new; cut off between the two, it leaves
// a file that says how to go back. Nothing here retries.
//
// A lifted directory holds the same keys with the same values, versions and
// revisions; only the store's own revision is higher, and everything below it
// counts as compacted. Its cluster token is new, and so are the IDs of the
// cluster and its members: a member that was forgotten cannot join again.
package datadir

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	etcdsnapshot "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// Member is one etcd of the cluster that the data is for.
type Member struct {
	Name     string
	PeerURLs []string
}

// Plan says what Prepare makes.
type Plan struct {
	// Dir is made by Prepare and must not exist. It gets one data directory for
	// each member, called like the member.
	Dir     string
	Members []Member
	To      kv.Revision // the revision that the data shall have
	// Snapshot writes etcd's own snapshot, with its checksum at the end.
	Snapshot func(context.Context, io.Writer) error
	Say      func(string) // progress for people; may be nil
}

// Prepared is what Prepare made.
type Prepared struct {
	Dir       string
	From, To  kv.Revision // the snapshot's revision and the new one
	ClusterID uint64
	Members   map[string]string // name → data directory
}

// ErrHighEnough means that the data has the revision already.
var ErrHighEnough = errors.New("the revision is high enough already")

// Prepare makes a data directory for each member from one snapshot.
func Prepare(ctx context.Context, p Plan) (done Prepared, err error) {
	if _, err := os.Lstat(p.Dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = errors.New("it exists already")
		}
		return done, &remedy.Error{Op: "prepare " + p.Dir, Err: err, Remedy: "name a directory that does not exist", Code: remedy.Usage}
	}
	parent := filepath.Dir(filepath.Clean(p.Dir))
	work, err := os.MkdirTemp(parent, "."+filepath.Base(p.Dir)+".unfinished-")
	if err != nil {
		return done, fmt.Errorf("prepare %s: %w", p.Dir, err)
	}
	defer os.RemoveAll(work)
	defer func() {
		if err != nil && !errors.Is(err, ErrHighEnough) {
			err = fmt.Errorf("prepare %s: %w", p.Dir, err)
		}
	}()

	snapshot := filepath.Join(work, "snapshot.db")
	p.say("taking a snapshot")
	if err := writeFile(ctx, snapshot, p.Snapshot); err != nil {
		return done, err
	}
	token, err := freshToken()
	if err != nil {
		return done, err
	}
	out := filepath.Join(work, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		return done, err
	}
	done = Prepared{Dir: p.Dir, Members: map[string]string{}}
	for _, m := range p.Members {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		p.say("making the data directory of " + m.Name)
		dir := filepath.Join(out, m.Name)
		if done.From, err = restore(restoration{db: snapshot, checksum: true, dir: dir, member: m, all: p.Members, token: token, to: p.To}); err != nil {
			return done, err
		}
		state, err := Inspect(dir)
		if err != nil {
			return done, err
		}
		done.To, done.ClusterID = state.Revision, state.ClusterID
		done.Members[m.Name] = filepath.Join(p.Dir, m.Name)
	}
	if err := syncTree(out); err != nil {
		return done, err
	}
	if err := os.Rename(out, p.Dir); err != nil {
		return done, err
	}
	return done, syncDir(parent)
}

func (p Plan) say(text string) {
	if p.Say != nil {
		p.Say(text)
	}
}

// restoration is one data directory to be made from a database file.
type restoration struct {
	db       string // a snapshot, or the database of an etcd that has ended
	checksum bool   // the file has one at its end
	dir      string
	member   Member
	all      []Member
	token    string
	to       kv.Revision
}

// restore makes the directory and returns the database's revision before.
func restore(r restoration) (from kv.Revision, err error) {
	if from, err = revisionOf(r.db); err != nil {
		return 0, err
	}
	if from >= r.to {
		return from, fmt.Errorf("%w: %d, wanted is %d", ErrHighEnough, from, r.to)
	}
	// The library's last resort is to panic.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("restore the data of %s: %v", r.member.Name, p)
		}
	}()
	var initial []string
	for _, m := range r.all {
		for _, u := range m.PeerURLs {
			initial = append(initial, m.Name+"="+u)
		}
	}
	err = etcdsnapshot.NewV3(zap.NewNop()).Restore(etcdsnapshot.RestoreConfig{
		SnapshotPath: r.db, SkipHashCheck: !r.checksum,
		Name: r.member.Name, PeerURLs: r.member.PeerURLs,
		InitialCluster: strings.Join(initial, ","), InitialClusterToken: r.token,
		OutputDataDir: r.dir,
		RevisionBump:  uint64(r.to - from), MarkCompacted: true,
	})
	if err != nil {
		return from, fmt.Errorf("restore the data of %s: %w", r.member.Name, err)
	}
	return from, os.Chmod(r.dir, 0o700) // etcd insists
}

// freshToken makes the IDs of a cluster unlike those of every other.
func freshToken() (string, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return "understudy-floor-" + hex.EncodeToString(random[:]), nil
}

func writeFile(ctx context.Context, path string, write func(context.Context, io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncTree makes a directory and all below it last.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncDir(path)
	})
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
