package replica

import (
	"sync"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// Lag is how far the standby is behind.
type Lag struct {
	// Known is false where nobody can tell: the primary did not answer lately.
	// Seconds and Revisions then mean nothing.
	Known     bool
	Seconds   float64
	Revisions int64
}

// lagMeter measures the lag by looking at the primary's revision now and then:
// the standby lags since the first look that saw a revision it does not have.
// Clocks of other machines play no part.
type lagMeter struct {
	mu      sync.Mutex
	looks   []look      // those above reached, oldest first
	last    look        // the newest
	reached kv.Revision // what the standby has
}

type look struct {
	at       time.Time
	revision kv.Revision
}

const (
	// maxLooks bounds the memory of a long outage: with one look a second, the
	// first 10 minutes are kept exactly, later ones only by their newest.
	maxLooks = 600
	// lookValid is how long a look counts.
	lookValid = 10 * time.Second
)

// saw records that the primary stood at revision at the given time.
func (m *lagMeter) saw(at time.Time, revision kv.Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = look{at, revision}
	if revision > m.reached && (len(m.looks) == 0 || revision > m.looks[len(m.looks)-1].revision) && len(m.looks) < maxLooks {
		m.looks = append(m.looks, m.last)
	}
}

// has records that the standby has everything up to revision.
func (m *lagMeter) has(revision kv.Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reached = revision
	n := 0
	for n < len(m.looks) && m.looks[n].revision <= revision {
		n++
	}
	m.looks = m.looks[n:]
	if len(m.looks) == 0 && m.last.revision > revision {
		m.looks = []look{m.last}
	}
}

// lag is the lag now.
func (m *lagMeter) lag(now time.Time) Lag {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.at.IsZero() || now.Sub(m.last.at) > lookValid {
		return Lag{}
	}
	l := Lag{Known: true}
	if m.last.revision > m.reached {
		l.Revisions = int64(m.last.revision - m.reached)
	}
	if len(m.looks) > 0 {
		l.Seconds = now.Sub(m.looks[0].at).Seconds()
	}
	return l
}
