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
	// Patience is how long etcd may take to end after Stop has returned, and to
	// open its old data again where something fails.
	Patience time.Duration
	Say      func(string) // progress for people; may be nil
}

// Swapped is what a Swap did.
type Swapped struct {
	From, To  kv.Revision
	ClusterID uint64        // the new one
	Kept      string        // holds the old data; "" = that is in place
	Down      time.Duration // from Stop to the return of Start
}

// Run stops etcd, makes a directory with the lifted revision from its data, puts
// it in place and starts etcd. An error before that is done starts etcd on its
// old data again. Run does not look whether etcd serves afterwards.
func (s Swap) Run(ctx context.Context) (Swapped, error) {
	if err := s.check(); err != nil {
		return Swapped{}, err
	}
	began := time.Now()
	s.say("stopping etcd")
	quiet := context.AfterFunc(ctx, func() {
		s.say("interrupted: etcd is started again once the stop command and etcd have ended; a second Ctrl-C would leave it stopped")
	})
	done, err := s.whileStopped(ctx)
	quiet()
	// Cancelled or not, it must run again.
	s.say("starting etcd")
	startErr := s.Start(context.WithoutCancel(ctx))
	done.Down = time.Since(began)
	switch {
	case err != nil:
		return done, s.failed(done, err, startErr)
	case startErr != nil:
		return done, &remedy.Error{Op: "start etcd on the lifted data", Err: startErr,
			Remedy: "start it by hand; to go back: stop it, " + s.GoBack(done), Code: remedy.Unknown}
	}
	return done, nil
}

// failed says what is in place after an error, and whether etcd runs.
func (s Swap) failed(done Swapped, err, startErr error) error {
	if startErr != nil {
		err = errors.Join(err, fmt.Errorf("start etcd again: %w", startErr))
	}
	out := &remedy.Error{Op: "lift the revision", Err: err, Code: remedy.CodeOf(err)}
	switch {
	case done.Kept != "":
		out.Remedy = "neither the old data nor the new is in place; with etcd stopped: " + s.GoBack(done)
	case startErr != nil:
		out.Remedy = "its old data is in place; start etcd by hand"
	case !s.runs():
		out.Remedy = "its old data is in place, and the start command was run, but no etcd has opened it: look at etcd's log"
	default:
		out.Remedy = "nothing was changed: etcd runs again, on its old data"
	}
	if next := remedy.Of(err); next != "" {
		out.Remedy += "\n" + next
	}
	return out
}

// steady is how long an etcd must have its data open to count as running: one
// that is about to end has it open as well.
const steady = time.Second

// runs reports whether an etcd opens the data directory, and keeps it open.
func (s Swap) runs() bool {
	var since time.Time
	for deadline := time.Now().Add(s.Patience + 2*steady); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		db, err := open(s.DataDir)
		switch {
		case err == nil:
			db.Close()
			since = time.Time{}
		case errors.Is(err, ErrRunning) && since.IsZero():
			since = time.Now()
		case errors.Is(err, ErrRunning) && time.Since(since) >= steady:
			return true
		}
	}
	return false
}

// GoBack is the shell command that puts the old data in place again; see GoBack.
func (s Swap) GoBack(done Swapped) string {
	return GoBack(s.DataDir, done.Kept) + " # then start etcd, and restart every API server of the cluster"
}

// GoBack is the shell command that puts the old data of a directory, which is in
// kept, in place again, with etcd stopped. Where the old data is in place it does
// nothing. Cut off, it can be run again.
func GoBack(dataDir, kept string) string {
	member, old := filepath.Join(dataDir, "member"), filepath.Join(kept, "member")
	return fmt.Sprintf("test -d %[1]s && { ! test -e %[2]s || mv %[2]s %[3]s; } && mv %[1]s %[2]s",
		remedy.Quote(old), remedy.Quote(member), remedy.Quote(filepath.Join(kept, "lifted")))
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
	return canExchange(s.DataDir)
}

// whileStopped does what needs an etcd that has ended. After an error the old
// data is in place, unless done.Kept says where it is.
func (s Swap) whileStopped(ctx context.Context) (done Swapped, err error) {
	// A stop command that is cut off may end etcd later, after it was started again.
	if err := s.Stop(context.WithoutCancel(ctx)); err != nil {
		return done, fmt.Errorf("stop etcd: %w", err)
	}
	db, err := s.ended(context.WithoutCancel(ctx), s.DataDir) // it is not to be started while it ends
	if err != nil {
		return done, err
	}
	defer db.Close() // until then an etcd that starts waits
	if ctx.Err() != nil {
		return done, ctx.Err()
	}
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
	defer os.RemoveAll(work)
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
	if err := errors.Join(ownLike(filepath.Join(s.DataDir, "member"), work), syncTree(work), ctx.Err()); err != nil {
		return done, err
	}
	kept := filepath.Join(s.DataDir, "before-floor-"+stamp)
	inPlace, err := s.replace(ctx, db, state, work, kept)
	if !inPlace {
		done.Kept = kept
	}
	return done, err
}

// replace puts the lifted data in work in the place of the old, which goes to
// kept. The place is never empty, or an etcd that starts would begin a new
// cluster there. In between a file stands there, on which no etcd can start.
//
// An etcd that was started meanwhile has opened the old database and waits for
// its lock, asking every 50 ms (bbolt). With the new data in place it would join
// the old database to the new log. So it gets the lock while the file is there:
// it finds no log and ends.
//
// inPlace says whether the old data is: the undoing of an error may fail too.
func (s Swap) replace(ctx context.Context, db *bolt.DB, state State, work, kept string) (inPlace bool, err error) {
	member, old := filepath.Join(s.DataDir, "member"), filepath.Join(kept, "member")
	back := s.GoBack(Swapped{Kept: kept})
	text := "Understudy was lifting the revision of this etcd, and was cut off.\nIts data is in " + old + ". To put it in place again, with etcd stopped:\n" + back + "\n"
	if err := os.Mkdir(kept, 0o700); err != nil {
		return true, err
	}
	err = errors.Join(os.WriteFile(old, []byte(text), 0o644), syncTree(kept), syncDir(s.DataDir))
	if err == nil {
		s.say("putting it in place; should this be cut off, with etcd stopped: " + back)
		err = exchange(member, old)
	}
	if err != nil {
		return true, errors.Join(err, os.Remove(old), os.Remove(kept)) // only the file is in it
	}
	if err := s.settle(ctx, db, state, kept, filepath.Join(work, "member")); err != nil {
		if undo := exchange(member, old); undo != nil {
			byHand := isDir(member) && !isDir(old)
			return byHand, errors.Join(err, fmt.Errorf("put the old data back: %w", undo))
		}
		return true, errors.Join(err, syncDir(s.DataDir), syncDir(kept), os.Remove(old), os.Remove(kept))
	}
	// The swap has happened: an error here must not look as if it had not.
	_ = errors.Join(syncDir(s.DataDir), syncDir(work))
	return false, nil
}

// letGo is many times as long as it takes a waiting etcd to notice that the lock is free.
const letGo = time.Second

// settle lets an etcd that waits for the old database have it and end, and puts
// the lifted data in the place of the file.
func (s Swap) settle(ctx context.Context, db *bolt.DB, state State, kept, lifted string) error {
	if err := db.Close(); err != nil {
		return err
	}
	select {
	case <-time.After(letGo):
	case <-ctx.Done():
		return ctx.Err()
	}
	db, err := s.ended(ctx, kept)
	if err != nil {
		return err
	}
	defer db.Close()
	now, err := inspect(kept, db)
	if err != nil {
		return err
	}
	if now != state {
		return &remedy.Error{Op: "look at the old data once more", Err: errors.New("an etcd that was started meanwhile has written to it"),
			Remedy: "the stop command must keep etcd ended; then run this again", Code: remedy.Refused}
	}
	member := filepath.Join(s.DataDir, "member")
	if err := exchange(member, lifted); err != nil || !isDir(lifted) {
		return err
	}
	// Not the file has come out, but the old data: somebody has put it back meanwhile.
	// It goes to where an undone swap takes it from.
	return errors.Join(errors.New("the old data was put back meanwhile"), os.Rename(lifted, filepath.Join(kept, "member")))
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// ended waits until no etcd has the database open, and keeps others from it.
func (s Swap) ended(ctx context.Context, dir string) (*bolt.DB, error) {
	deadline := time.Now().Add(s.Patience)
	for {
		db, err := open(dir)
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

// canExchange refuses a file system that cannot put two names in each other's
// place in one step: between two steps the place of the data would be empty.
func canExchange(dir string) error {
	try, err := os.MkdirTemp(dir, "floor-unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(try)
	a, b := filepath.Join(try, "a"), filepath.Join(try, "b")
	if err := errors.Join(os.Mkdir(a, 0o700), os.WriteFile(b, nil, 0o600)); err != nil {
		return err
	}
	if err := exchange(a, b); err != nil {
		return &remedy.Error{Op: "try to exchange two names in " + dir, Err: err,
			Remedy: "prepare a directory with --target-dir, and put it in place by hand", Code: remedy.Refused}
	}
	return nil
}
