package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as Go does: 300ms, 10s, 1h30m.
type Duration struct{ time.Duration }

// UnmarshalText reads Go's notation. A number without a unit is refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number with its unit, such as 10s or 5m", text)
	}
	d.Duration = v
	return nil
}

// MarshalText writes the shortest form: 5m, not 5m0s.
func (d Duration) MarshalText() ([]byte, error) {
	s := d.Duration.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return []byte(s), nil
}

// Size is a number of bytes. In the file it is a whole number, or a number
// with one of the units KiB, MiB, GiB.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes float64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// UnmarshalText reads 1572864 or 1.5MiB. What is not a whole number of bytes
// is refused.
func (s *Size) UnmarshalText(text []byte) error {
	number, factor := string(text), 1.0
	for _, u := range sizeUnits {
		if rest, found := strings.CutSuffix(number, u.name); found {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	bytes := f * factor
	// Above 2^53 a float64 no longer holds every whole number.
	if err != nil || bytes != math.Trunc(bytes) || math.Abs(bytes) > 1<<53 {
		return fmt.Errorf("%q is not a size; write bytes, or a number with KiB, MiB or GiB", text)
	}
	*s = Size(bytes)
	return nil
}

// MarshalText writes the largest unit in which the size has at most two digits
// after the point, so that reading it gives the very same number.
func (s Size) MarshalText() ([]byte, error) {
	for _, u := range sizeUnits {
		n := float64(s) / u.bytes
		if text := strconv.FormatFloat(n, 'f', -1, 64); math.Abs(n) >= 1 && n*100 == math.Trunc(n*100) && u.bytes > 1 {
			return []byte(text + u.name), nil
		}
	}
	return strconv.AppendInt(nil, int64(s), 10), nil
}

func (s Size) String() string {
	text, _ := s.MarshalText()
	return string(text)
}
