package replica

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is put comes back, in any order, once it has been flushed; and it
// does not lie on disk in the clear.
func TestSpillGivesBackWhatWasPut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := newSpill()
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		values := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 4000), 1, 400).Draw(t, "values")
		var places []place
		for _, v := range values {
			p, err := s.put(v)
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, p)
		}
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
		for i := len(values) - 1; i >= 0; i-- {
			got, err := s.get(places[i])
			if err != nil || !bytes.Equal(got, values[i]) {
				t.Fatalf("value %d: %d bytes, %v; want %d bytes", i, len(got), err, len(values[i]))
			}
		}
	})
}

func TestSpillSealsValues(t *testing.T) {
	s, err := newSpill()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	secret := bytes.Repeat([]byte("password"), 40)
	p, err := s.put(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, p.length)
	if _, err := s.file.ReadAt(raw, p.offset); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("password")) {
		t.Error("the value lies on disk in the clear")
	}
	if _, err := s.file.WriteAt([]byte{raw[9] ^ 1}, p.offset+9); err != nil {
		t.Fatal(err)
	}
	if _, err := s.get(p); err == nil {
		t.Error("a flipped bit on disk was not noticed")
	}
}
