package testkit

import (
	"bytes"
	"fmt"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// LoseRevisions makes member i lose its last n revisions and keep its place in the
// log: what an etcd before 3.5.3 did when it crashed, and what an older key space
// under a newer index does. etcd itself notices nothing.
func (e *Etcd) LoseRevisions(i, n int) {
	e.t.Helper()
	e.editMember(i, func(keys *bolt.Bucket) error {
		c := keys.Cursor()
		for k, _ := c.Last(); k != nil && n > 0; k, _ = c.Last() {
			if err := c.Delete(); err != nil {
				return err
			}
			n--
		}
		return nil
	})
}

// ForgeLast replaces one text by another of the same length in what member i wrote last.
func (e *Etcd) ForgeLast(i int, from, to string) {
	e.t.Helper()
	e.editMember(i, func(keys *bolt.Bucket) error {
		k, v := keys.Cursor().Last()
		return keys.Put(bytes.Clone(k), bytes.Replace(v, []byte(from), []byte(to), 1))
	})
}

// editMember changes the key space of member i behind etcd's back, once all members
// have everything.
func (e *Etcd) editMember(i int, edit func(*bolt.Bucket) error) {
	e.t.Helper()
	e.Settle()
	e.KillMember(i)
	db, err := bolt.Open(filepath.Join(e.MemberDataDir(i), "member", "snap", "db"), 0o600, &bolt.Options{Timeout: 10 * time.Second})
	e.must("open the data of", err)
	e.must("change the data of", db.Update(func(tx *bolt.Tx) error { return edit(tx.Bucket([]byte("key"))) }))
	e.must("close the data of", db.Close())
	e.RestartMember(i)
}

// Settle waits until every member has applied everything, and has it in its database.
func (e *Etcd) Settle() {
	e.t.Helper()
	Eventually(e.t, 20*time.Second, "all members to have everything", func() (bool, string) {
		at := map[int64]bool{}
		for _, endpoint := range e.Endpoints() {
			s, err := e.Client().Status(e.t.Context(), endpoint)
			if err != nil {
				return false, err.Error()
			}
			at[s.Header.Revision] = true
		}
		return len(at) == 1, fmt.Sprint(at)
	})
	for _, endpoint := range e.Endpoints() { // writes what is still in memory
		_, err := e.Client().Defragment(e.t.Context(), endpoint)
		e.must("defragment", err)
	}
}
