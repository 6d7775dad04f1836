package datadir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
)

// State is what a data directory says of itself.
type State struct {
	ClusterID, MemberID uint64
	Revision            kv.Revision
	// Applied is the raft entry up to which the database has everything, Last
	// the last one in the log. An etcd that ended in good order leaves them equal.
	Applied, Last uint64
}

// ErrRunning means that an etcd has the data directory open.
var ErrRunning = errors.New("an etcd runs on it")

// lockPatience is how long to wait for a lock before it counts as held.
const lockPatience = 200 * time.Millisecond

// Inspect reads the data directory of an etcd that has ended; ErrRunning where
// it has not.
func Inspect(dir string) (State, error) {
	db, err := open(dir)
	if err != nil {
		return State{}, err
	}
	defer db.Close()
	return inspect(dir, db)
}

func inspect(dir string, db *bolt.DB) (State, error) {
	s, err := readLog(dir)
	if err != nil {
		return s, err
	}
	if s.Revision, err = revision(db); err != nil {
		return s, fmt.Errorf("read %s: %w", db.Path(), err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte("meta"))
		if meta == nil {
			return errors.New("it has no consistent index")
		}
		if raw := meta.Get([]byte("consistent_index")); len(raw) == 8 {
			s.Applied = binary.BigEndian.Uint64(raw)
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("read %s: %w", db.Path(), err)
	}
	return s, nil
}

// open locks the database against an etcd that starts meanwhile: it waits.
func open(dir string) (*bolt.DB, error) {
	path := filepath.Join(dir, "member", "snap", "db")
	if _, err := os.Stat(path); err != nil {
		return nil, &remedy.Error{Op: "read the data directory " + dir, Err: err,
			Remedy: "name the directory that etcd was given as --data-dir", Code: remedy.Usage}
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockPatience})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, &remedy.Error{Op: "read the data directory " + dir, Err: ErrRunning, Remedy: "stop it first", Code: remedy.Refused}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return db, nil
}

// readLog reads the write-ahead log, which may be written meanwhile.
func readLog(dir string) (s State, err error) {
	defer func() {
		// The library's last resort is to panic.
		if p := recover(); p != nil {
			err = fmt.Errorf("read etcd's log in %s: %v", dir, p)
		}
	}()
	path := filepath.Join(dir, "member", "wal")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return s, &remedy.Error{Op: "read the data directory " + dir, Err: errors.New("its write-ahead log is not in it"),
			Remedy: "an etcd with --wal-dir: prepare a directory with --target-dir, and move both by hand", Code: remedy.Usage}
	}
	wrong := func(err error) (State, error) { return s, fmt.Errorf("read etcd's log in %s: %w", dir, err) }
	snapshots, err := wal.ValidSnapshotEntries(zap.NewNop(), path)
	if err != nil {
		return wrong(err)
	}
	var newest walpb.Snapshot
	if n := len(snapshots); n > 0 {
		newest = snapshots[n-1]
	}
	w, err := wal.OpenForRead(zap.NewNop(), path, newest)
	if err != nil {
		return wrong(err)
	}
	defer w.Close()
	raw, _, entries, err := w.ReadAll()
	if err != nil {
		return wrong(err)
	}
	var meta etcdserverpb.Metadata
	if err := meta.Unmarshal(raw); err != nil {
		return wrong(err)
	}
	s.MemberID, s.ClusterID, s.Last = meta.NodeID, meta.ClusterID, newest.Index
	if n := len(entries); n > 0 {
		s.Last = entries[n-1].Index
	}
	return s, nil
}

// revisionOf is the revision of a database file.
func revisionOf(path string) (kv.Revision, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockPatience})
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	defer db.Close()
	rev, err := revision(db)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return rev, nil
}

// revision is what an etcd that starts on the database begins with: that of the
// newest record, or of the newest compaction, where the records at it are gone
// (etcd's mvcc/kvstore.go, restore).
func revision(db *bolt.DB) (rev kv.Revision, err error) {
	err = db.View(func(tx *bolt.Tx) error {
		keys, meta := tx.Bucket([]byte("key")), tx.Bucket([]byte("meta"))
		if keys == nil || meta == nil {
			return errors.New("it is no database of etcd")
		}
		take := func(raw []byte) {
			if len(raw) >= 8 {
				rev = max(rev, kv.Revision(binary.BigEndian.Uint64(raw)))
			}
		}
		last, _ := keys.Cursor().Last()
		take(last)
		take(meta.Get([]byte("scheduledCompactRev")))
		take(meta.Get([]byte("finishedCompactRev")))
		return nil
	})
	return max(rev, 1), err
}
