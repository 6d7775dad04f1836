// Package verify compares the standby with the primary, exactly, while both
// are being written.
//
// The checkpoint on the standby says which revision of the primary the standby
// has reached, and every transaction of the replication writes it. So one read
// of it gives a pair of revisions at which both sides must hold the same keys
// in scope; Run reads both sides at that pair. It raises no false alarm under
// load and asks nobody to pause.
//
// It only reads (but for Repair), holds a few pages at a time, and never retries a failed
// request. What cannot be compared is Unknown with a reason, never Consistent.
//
// Simulate asks another question of the same data: what would the standby's
// controllers and API server do with it if it were promoted now? It needs the
// standby only. Start with simulator.go; gc.go is the heart of it.
//
// An Account carries the outcome on from one full comparison to the next, so
// that an answer is there at once.
package verify
