package main

import (
	"fmt"
	"slices"
	"time"
)

// Result is what one row found.
type Result struct {
	Row     string    `json:"row"`
	Title   string    `json:"title"`
	Claims  []Claim   `json:"claims,omitempty"`
	Figures []*Figure `json:"figures,omitempty"`
	Notes   []string  `json:"notes,omitempty"`
	Error   string    `json:"error,omitempty"`
	Took    float64   `json:"tookSeconds"`
	Load    string    `json:"loadAverageBefore"`
}

// Figure is one number, measured once or several times.
type Figure struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Samples []float64 `json:"samples"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
}

// Claim is what has a bar, or stands beside one.
type Claim struct {
	What    string  `json:"what"`
	Ours    string  `json:"ours"`
	Beside  string  `json:"beside,omitempty"` // the peer, measured in the same run
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Bar     string  `json:"bar,omitempty"`
	Verdict Verdict `json:"verdict,omitempty"`
}

// Verdict says whether a bar was met.
type Verdict string

// The verdicts.
const (
	Met   Verdict = "met"
	Short Verdict = "short"
)

func verdict(met bool) Verdict {
	if met {
		return Met
	}
	return Short
}

// figure adds a number; add takes its samples.
func (r *Result) figure(name, unit string) *Figure {
	f := &Figure{Name: name, Unit: unit}
	r.Figures = append(r.Figures, f)
	return f
}

func (f *Figure) add(sample float64) {
	f.Samples = append(f.Samples, sample)
	sorted := slices.Sorted(slices.Values(f.Samples))
	n := len(sorted)
	f.Min, f.Max = sorted[0], sorted[n-1]
	f.Median = (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func (f *Figure) String() string {
	if len(f.Samples) == 0 {
		return "-"
	}
	text := quantity(f.Median, f.Unit)
	if len(f.Samples) > 1 {
		text += fmt.Sprintf(" (%s … %s)", number(f.Min), number(f.Max))
	}
	return text
}

// atLeast claims that ours is at least bar times as fast as beside. Both are rates.
func (r *Result) atLeast(bar float64, what string, ours, beside *Figure) {
	ratio := ours.Median / beside.Median
	r.Claims = append(r.Claims, Claim{What: what, Ours: ours.String(), Beside: beside.String(),
		Value: ratio, Unit: "×", Bar: fmt.Sprintf("≥ %g×", bar), Verdict: verdict(ratio >= bar)})
}

// below claims that a figure stays below a bar in its median.
func (r *Result) below(bar float64, what string, ours *Figure) {
	r.Claims = append(r.Claims, Claim{What: what, Ours: ours.String(), Value: ours.Median, Unit: ours.Unit,
		Bar: "< " + quantity(bar, ours.Unit), Verdict: verdict(ours.Median < bar)})
}

// most claims that a figure never exceeds a bar.
func (r *Result) most(bar float64, what string, ours *Figure) {
	r.Claims = append(r.Claims, Claim{What: what, Ours: ours.String(), Value: ours.Max, Unit: ours.Unit,
		Bar: "≤ " + quantity(bar, ours.Unit), Verdict: verdict(ours.Max <= bar)})
}

// state shows two figures beside each other that have no bar.
func (r *Result) state(what string, ours, beside *Figure) {
	c := Claim{What: what, Ours: ours.String(), Value: ours.Median, Unit: ours.Unit}
	if beside != nil {
		c.Beside = beside.String()
	}
	r.Claims = append(r.Claims, c)
}

func (r *Result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func quantity(n float64, unit string) string {
	if unit == "×" {
		return number(n) + unit
	}
	return number(n) + " " + unit
}

// number writes three significant digits or more, with thousands set apart.
func number(n float64) string {
	switch {
	case n < 0:
		return "-" + number(-n)
	case n >= 1000:
		digits := fmt.Sprintf("%.0f", n)
		for at := len(digits) - 3; at > 0; at -= 3 {
			digits = digits[:at] + "," + digits[at:]
		}
		return digits
	case n >= 100 || n == float64(int(n)):
		return fmt.Sprintf("%.0f", n)
	case n >= 10:
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.2f", n)
}

func seconds(d time.Duration) float64      { return d.Seconds() }
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func mebibytes(n int64) float64            { return float64(n) / (1 << 20) }

// rate is how many per second.
func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
