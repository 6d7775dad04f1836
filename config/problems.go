package config

import (
	"fmt"
	"strings"
)

// Problem is one mistake in a file.
type Problem struct {
	Line int // 0 when no line is to blame
	Text string
}

// Problems is an error that lists every mistake of one file, one per line.
type Problems struct {
	File string
	List []Problem
}

func (e *Problems) Error() string {
	lines := make([]string, len(e.List))
	for i, p := range e.List {
		if p.Line > 0 {
			lines[i] = fmt.Sprintf("%s:%d: %s", e.File, p.Line, p.Text)
		} else {
			lines[i] = fmt.Sprintf("%s: %s", e.File, p.Text)
		}
	}
	return strings.Join(lines, "\n")
}

// Nearest returns the known name that word was probably meant to be, or "".
func Nearest(word string, known []string) string {
	best, bestDistance := "", len(word)/3+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d <= bestDistance && d < len(k) {
			if d < bestDistance || best == "" {
				best, bestDistance = k, d
			}
		}
	}
	return best
}

// distance is the number of single-letter edits and swaps of neighbours that
// make b out of a (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
