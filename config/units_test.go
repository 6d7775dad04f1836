package config

import (
	"testing"
	"time"
)

func TestDurationText(t *testing.T) {
	for in, want := range map[string]string{
		"5m": "5m", "300s": "5m", "90s": "1m30s", "1h": "1h", "1h30m": "1h30m", "60m5s": "1h0m5s", "10s": "10s", "0s": "0s", "250ms": "250ms",
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); err != nil {
			t.Fatal(err)
		}
		text, _ := d.MarshalText()
		if string(text) != want {
			t.Errorf("%s is written %s, want %s", in, text, want)
		}
		if again, err := time.ParseDuration(string(text)); err != nil || again != d.Duration {
			t.Errorf("%s reads back as %v, %v", text, again, err)
		}
	}
}

func TestSizeText(t *testing.T) {
	for in, want := range map[string]struct {
		bytes Size
		text  string
	}{
		"1572864": {1572864, "1.5MiB"}, "1.5MiB": {1572864, "1.5MiB"}, "2 GiB": {2 << 30, "2GiB"}, "1536KiB": {1572864, "1.5MiB"},
		"1000000": {1000000, "1000000"}, "100B": {100, "100"}, "0": {0, "0"}, "1025": {1025, "1025"}, "1e3": {1000, "1000"},
	} {
		var s, again Size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != want.bytes || s.String() != want.text {
			t.Errorf("%s: %d, written %s, %v; want %d, written %s", in, int64(s), s, err, int64(want.bytes), want.text)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s reads back as %d, %v", s, int64(again), err)
		}
	}
	for _, bad := range []string{"", "MiB", "1.5", "1.0001KiB", "1MB", "NaN", "Inf", "1e300", "0x"} {
		var s Size
		if err := s.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken as %d bytes", bad, int64(s))
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"exclude", "include", "prefix", "profile", "leaseTTL"}
	for word, want := range map[string]string{
		"exlude": "exclude", "inclue": "include", "perfix": "prefix", "Profile": "profile", "leasettl": "leaseTTL", "colour": "", "x": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
