package demo

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// Digest stands for an object, decrypted; the zero Digest for none.
type Digest [16]byte

// DigestOf is the digest of an object that is there.
func DigestOf(plain []byte) Digest {
	sum := sha256.Sum256(plain)
	return Digest(sum[:16])
}

// Write is one write that a client asked for.
type Write struct {
	Key      string
	Object   Digest      // what the key holds after it; zero = deleted
	Revision kv.Revision // the primary's; 0 where no answer came
	Answered time.Time
}

// Ledger holds every write to the primary, as its clients know them. A key has
// one writer, so the writes of a key come in the order of their revisions.
type Ledger struct {
	mu      sync.Mutex
	keys    map[string][]Write
	answers []Write // in scope, in the order in which the answers came
}

// NewLedger returns an empty Ledger.
func NewLedger() *Ledger { return &Ledger{keys: map[string][]Write{}} }

// Acknowledged records writes that the primary has answered.
func (l *Ledger) Acknowledged(writes ...Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range writes {
		l.keys[w.Key] = append(l.keys[w.Key], w)
	}
	l.answers = append(l.answers, writes...)
}

// Unanswered records a write that may have happened or not.
func (l *Ledger) Unanswered(w Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.Revision = 0
	l.keys[w.Key] = append(l.keys[w.Key], w)
}

// Answers are the acknowledged writes from number from on.
func (l *Ledger) Answers(from int) []Write {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.answers[from:])
}

// Account is what became of the acknowledged writes.
type Account struct {
	Acknowledged int
	Unanswered   int
	Last         kv.Revision // the highest revision acknowledged
	// Missing are the acknowledged writes that the standby does not have.
	Missing []Write
	// Strange are keys that hold on the standby what nobody ever wrote.
	Strange []string
}

// Settle compares every write with what the standby holds: of a key, the
// newest write that explains what is there counts as the one that has arrived,
// and all acknowledged ones after it as missing.
func (l *Ledger) Settle(standby map[string]Digest) Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	var a Account
	for key, writes := range l.keys {
		arrived := len(writes) - 1
		for arrived >= 0 && writes[arrived].Object != standby[key] {
			arrived--
		}
		if arrived < 0 && standby[key] != (Digest{}) {
			a.Strange = append(a.Strange, key)
		}
		for i, w := range writes {
			if w.Revision == 0 {
				a.Unanswered++
				continue
			}
			a.Acknowledged++
			a.Last = max(a.Last, w.Revision)
			if i > arrived {
				a.Missing = append(a.Missing, w)
			}
		}
	}
	slices.SortFunc(a.Missing, func(x, y Write) int { return int(x.Revision - y.Revision) })
	slices.Sort(a.Strange)
	return a
}
