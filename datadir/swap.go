package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// Swap lifts the revision of an etcd whose data directory is on this host. The
// etcd has to be the only member of its cluster.
type Swap struct {
	DataDir string
	Member  Member
	// ClusterID and MemberID are those of the running etcd: a directory of
	// another one is refused.
	ClusterID, MemberID uint64
	To                  kv.Revision
	// Stop ends etcd in good order and keeps it ended; Start starts it.
	Stop, Start func(context.Context) error
	// StopPatience is how long etcd may take to end after Stop has returned.
	StopPatience time.Duration
	Say          func(string) // progress for people; may be nil
}

// Swapped is what a Swap did.
type Swapped struct {
	From, To  kv.Revision
	ClusterID uint64        // the new one
	Kept      string        // holds the old data
	Down      time.Duration // from Stop to the return of Start
}

// Run stops etcd, makes a directory with the lifted revision from its data, puts
// it in place in one step and starts etcd. An error before that step starts
// etcd on its old data again. Run does not look whether etcd serves afterwards.
func (s Swap) Run(ctx context.Context) (Swapped, error) {
	if err := s.check(); err != nil {
		return Swapped{}, err
	}
	began := time.Now()
	s.say("stopping etcd")
	done, err := s.whileStopped(ctx)
	// Cancelled or not, it must run again.
	s.say("starting etcd")
	startErr := s.Start(context.WithoutCancel(ctx))
	done.Down = time.Since(began)
	switch {
	case err != nil && startErr != nil:
		return done, &remedy.Error{Op: "lift the revision", Err: errors.Join(err, fmt.Errorf("start etcd again: %w", startErr)),
			Remedy: "the old data is in place; start etcd by hand"}
	case err != nil:
		return done, fmt.Errorf("etcd was started again on its old data: %w", err)
	case startErr != nil:
		return done, &remedy.Error{Op: "start etcd on the lifted data", Err: startErr,
			Remedy: "start it by hand; to go back: stop it, " + s.GoBack(done)}
	}
	return done, nil
}

// GoBack is the shell command that puts the old data in place again.
func (s Swap) GoBack(done Swapped) string {
	member := filepath.Join(s.DataDir, "member")
	return fmt.Sprintf("mv %s %s.lifted && mv %s %s", member, member, filepath.Join(done.Kept, "member"), member)
}

// check refuses what can be known to go wrong while etcd still runs.
func (s Swap) check() error {
	state, err := readLog(s.DataDir)
	if err != nil {
		return err
	}
	if state.MemberID != s.MemberID || state.ClusterID != s.ClusterID {
		return &remedy.Error{Op: "lift the revision in " + s.DataDir,
			Err:    fmt.Errorf("it belongs to member %x of cluster %x, but member %x of cluster %x answers", state.MemberID, state.ClusterID, s.MemberID, s.ClusterID),
			Remedy: "name the --data-dir of the standby's etcd, on its own host", Code: remedy.Refused}
	}
	db, err := open(s.DataDir)
	if err == nil {
		db.Close()
		return &remedy.Error{Op: "lift the revision in " + s.DataDir, Err: errors.New("etcd answers, but has not opened it"),
			Remedy: "name the directory itself, not a copy; a network file system without locks will not do", Code: remedy.Refused}
	}
	if !errors.Is(err, ErrRunning) {
		return err
	}
	return nil
}

// whileStopped does what needs an etcd that has ended. After an error the old
// data is in place.
func (s Swap) whileStopped(ctx context.Context) (done Swapped, err error) {
	if err := s.Stop(ctx); err != nil {
		return done, fmt.Errorf("stop etcd: %w", err)
	}
	db, err := s.ended(ctx)
	if err != nil {
		return done, err
	}
	defer db.Close() // until then an etcd that starts waits
	state, err := inspect(s.DataDir, db)
	if err != nil {
		return done, err
	}
	if state.Applied != state.Last {
		return done, &remedy.Error{Op: "look at the data of the stopped etcd",
			Err:    fmt.Errorf("its database has entry %d, its log goes on to %d: it was killed", state.Applied, state.Last),
			Remedy: "the stop command must end etcd with SIGTERM and wait; then run this again", Code: remedy.Refused}
	}
	token, err := freshToken()
	if err != nil {
		return done, err
	}
	stamp := time.Now().UTC().Format("20060102T150405Z")
	// Inside the data directory, so that it is the same file system.
	work := filepath.Join(s.DataDir, "floor-unfinished-"+stamp)
	defer func() {
		if err != nil {
			os.RemoveAll(work)
		}
	}()
	s.say("making the lifted data")
	done.From, err = restore(restoration{db: filepath.Join(s.DataDir, "member", "snap", "db"), dir: work,
		member: s.Member, all: []Member{s.Member}, token: token, to: s.To})
	if err != nil {
		return done, err
	}
	lifted, err := Inspect(work)
	if err != nil {
		return done, err
	}
	done.To, done.ClusterID = lifted.Revision, lifted.ClusterID
	old := filepath.Join(s.DataDir, "member")
	if err := errors.Join(ownLike(old, work), syncTree(work), ctx.Err()); err != nil {
		return done, err
	}
	if err := exchange(old, filepath.Join(work, "member")); err != nil {
		return done, err
	}
	done.Kept = filepath.Join(s.DataDir, "before-floor-"+stamp)
	if os.Rename(work, done.Kept) != nil {
		done.Kept = work // another name, the same data
	}
	// The swap has happened: an error here must not look as if it had not.
	_ = syncDir(s.DataDir)
	return done, nil
}

// ended waits until no etcd has the database open, and keeps others from it.
func (s Swap) ended(ctx context.Context) (*bolt.DB, error) {
	deadline := time.Now().Add(s.StopPatience)
	for {
		db, err := open(s.DataDir)
		if err == nil || !errors.Is(err, ErrRunning) || time.Now().After(deadline) {
			return db, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (s Swap) say(text string) {
	if s.Say != nil {
		s.Say(text)
	}
}

// exchange puts two directories in each other's place: in one step where the
// file system can, else in two, of which the first is undone where the second fails.
func exchange(a, b string) error {
	err := exchangeAtOnce(a, b)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	aside := a + ".aside"
	if err := os.Rename(a, aside); err != nil {
		return err
	}
	if err := os.Rename(b, a); err != nil {
		return errors.Join(err, os.Rename(aside, a))
	}
	return os.Rename(aside, b)
}
