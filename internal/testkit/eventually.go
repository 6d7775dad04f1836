package testkit

import (
	"testing"
	"time"
)

// Eventually polls cond until it holds, every 20 ms. After timeout it fails
// the test, saying what was awaited and the state cond told last.
func Eventually(t testing.TB, timeout time.Duration, what string, cond func() (ok bool, state string)) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, state := cond()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s; last seen: %s", timeout, what, state)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("test ended while waiting for %s; last seen: %s", what, state)
		case <-ticker.C:
		}
	}
}
