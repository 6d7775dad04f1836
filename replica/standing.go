package replica

import (
	"sync"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/scope"
)

// standing remembers how the stream left objects with local fields on the
// standby, so that they need not be read again for every update. What it says
// may be out of date; a transaction that relies on it demands that the object
// still stands at that revision.
type standing struct {
	mu    sync.Mutex // the guard forgets, the stream does the rest
	of    map[string]stood
	bytes int
}

// stood is an object as it was left.
type stood struct {
	revision kv.Revision // the standby's; 0 = there is none
	own      scope.Own
}

// standingBytes is how much is remembered; beyond it everything is forgotten.
const standingBytes = 8 << 20

// reset forgets everything.
func (s *standing) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of, s.bytes = map[string]stood{}, 0
}

func (s *standing) get(key string) (stood, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, ok := s.of[key]
	return object, ok
}

func (s *standing) put(key string, object stood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key)
	if s.bytes > standingBytes {
		s.of, s.bytes = map[string]stood{}, 0
	}
	s.of[key] = object
	s.bytes += object.size(key)
}

// forget drops what is known of a key, unless it is newer than revision.
func (s *standing) forget(key string, revision kv.Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[key].revision < revision {
		s.remove(key)
	}
}

func (s *standing) remove(key string) {
	if object, ok := s.of[key]; ok {
		delete(s.of, key)
		s.bytes -= object.size(key)
	}
}

// size is what an entry takes in memory, about.
func (o stood) size(key string) int { return len(key) + o.own.Size() + 100 }
