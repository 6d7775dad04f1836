package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/verify"
)

// demoFacts is what the demo found out, act by act.
type demoFacts struct {
	Primary  demoCluster  `json:"primary"`
	Standby  demoCluster  `json:"standby"`
	Filled   demoFilled   `json:"filled"`
	Copied   demoCopied   `json:"copied"`
	Streamed demoStreamed `json:"streamed"`
	Checked  demoCheck    `json:"checked"`  // under the writers' load, like all checks
	Tampered demoTampered `json:"tampered"` // keys, deleted, changed and created on the standby
	Repaired demoRepaired `json:"repaired"`
	Killed   *demoKilled  `json:"killed,omitempty"`
	Config   string       `json:"config,omitempty"` // for other commands, with --keep
	Listen   string       `json:"listen,omitempty"` // of the daemon, with --keep
	Seconds  float64      `json:"seconds"`
}

type demoCluster struct {
	Name       string `json:"name"`
	Endpoint   string `json:"endpoint"`
	Encryption string `json:"encryption"` // of Secrets
}

type demoFilled struct {
	Objects  int `json:"objects"`
	InScope  int `json:"inScope"`
	Protobuf int `json:"protobuf"`
	JSON     int `json:"json"`
	Secrets  int `json:"secrets"` // encrypted
}

type demoCopied struct {
	Objects        int64       `json:"objects"`
	Reencrypted    int         `json:"reencrypted"` // Secrets, as found on the standby
	SourceRevision kv.Revision `json:"sourceRevision"`
	Seconds        float64     `json:"seconds"`
}

type demoStreamed struct {
	Writers      int     `json:"writers"`
	Seconds      float64 `json:"seconds"`
	Acknowledged int     `json:"acknowledged"`
	Events       int64   `json:"events"` // applied on the standby
	Transactions int64   `json:"transactions"`
	// From the acknowledgement on the primary until it can be read on the standby.
	LagP50 float64 `json:"lagP50Milliseconds"`
	LagP99 float64 `json:"lagP99Milliseconds"`
}

type demoCheck struct {
	Verdict         verify.Verdict `json:"verdict"`
	SourceRevision  kv.Revision    `json:"sourceRevision"`
	StandbyRevision kv.Revision    `json:"standbyRevision"`
	Compared        int64          `json:"compared"`
	Missed          []string       `json:"missed"`
	Differing       []string       `json:"differing"`
	Surplus         []string       `json:"surplus"`
	Seconds         float64        `json:"seconds"`
}

func toDemoCheck(r verify.Report) demoCheck {
	return demoCheck{r.Verdict, r.SourceRevision, r.StandbyRevision, r.Compared, r.Missed.Keys, r.Differing.Keys, r.Surplus.Keys, r.Took.Seconds()}
}

type demoTampered struct {
	Deleted       []string  `json:"deleted"`
	NoticedAfter  float64   `json:"noticedAfterMilliseconds"` // by the guard
	RepairedAfter float64   `json:"repairedAfterMilliseconds"`
	Changed       string    `json:"changed"` // after that; the guard reports it
	Created       string    `json:"created"`
	Check         demoCheck `json:"check"`
}

type demoRepaired struct {
	Written int       `json:"written"`
	Deleted int       `json:"deleted"`
	Check   demoCheck `json:"check"` // after it
}

type demoKilled struct {
	Burst            int         `json:"burst"`        // acknowledged in the last second before
	Acknowledged     int         `json:"acknowledged"` // in scope, since the beginning
	Unanswered       int         `json:"unanswered"`   // under way when it died; they may have happened or not
	LastAcknowledged kv.Revision `json:"lastAcknowledged"`
	Reached          kv.Revision `json:"reached"` // by the standby
	Missing          int         `json:"missing"` // acknowledged and not on the standby
	MissingWrites    []demoWrite `json:"missingWrites,omitempty"`
	// Interruptions of the replication before the kill, by reason: none but on
	// a machine that is far too busy.
	Interruptions map[string]int64 `json:"interruptions,omitempty"`
}

type demoWrite struct {
	Key      string      `json:"key"`
	Revision kv.Revision `json:"revision"`
}

// story tells the acts on stdout while they happen.
type story struct {
	w       io.Writer
	began   time.Time
	colored bool
}

func newStory(w io.Writer, aloud bool) *story {
	s := &story{w: w, began: time.Now(), colored: isTerminal(w) && os.Getenv("NO_COLOR") == ""}
	if !aloud {
		s.w = io.Discard
	}
	fmt.Fprint(s.w, "Two etcd clusters in one process: replicate, break, prove.\n\n")
	return s
}

func (s *story) elapsed() time.Duration { return time.Since(s.began) }

// line is the time, the act, the number that matters, and what it counts.
func (s *story) line(act string, n any, format string, args ...any) {
	fmt.Fprintf(s.w, "%5.1fs  %-7s %7s  %s\n", s.elapsed().Seconds(), act, n, fmt.Sprintf(format, args...))
}

// detail belongs to the line before.
func (s *story) detail(text string) { fmt.Fprintf(s.w, "%25s%s\n", "", text) }

// verdict is a word with a mark before it, green or red.
func (s *story) verdict(good bool, word string) string {
	mark, color := "✓ ", "\x1b[32m"
	if !good {
		mark, color = "✗ ", "\x1b[31m"
	}
	if !s.colored {
		return mark + word
	}
	return color + mark + word + "\x1b[0m"
}

func (s *story) opened(f demoFacts) {
	s.line("stage", "2", "etcds with fsync on: primary %s %s, standby %s %s",
		f.Primary.Name, strings.TrimPrefix(f.Primary.Endpoint, "http://"), f.Standby.Name, strings.TrimPrefix(f.Standby.Endpoint, "http://"))
}

func (s *story) filled(f demoFacts) {
	s.line("fill", grouped(f.Filled.Objects), "objects on %s: %s custom resources, %s built-in, %s Secrets (%s)", f.Primary.Name,
		grouped(f.Filled.JSON), grouped(f.Filled.Protobuf), grouped(f.Filled.Secrets), f.Primary.Encryption)
}

func (s *story) copied(f demoFacts) {
	c := f.Copied
	s.line("copy", grouped(c.Objects), "in scope copied in %.1f s, owners first; %s local ones left out", c.Seconds, grouped(f.Filled.Objects-f.Filled.InScope))
	s.line("", grouped(c.Reencrypted), "Secrets encrypted again with %s's own key (%s)", f.Standby.Name, f.Standby.Encryption)
}

func (s *story) streamed(f demoFacts) {
	st := f.Streamed
	s.line("stream", grouped(st.Acknowledged), "writes acknowledged to %d writers in %.0f s, and they go on", st.Writers, st.Seconds)
	s.line("", fmt.Sprintf("%.1f", st.LagP50), "ms from acknowledged to readable on %s (p50), %.1f ms (p99)", f.Standby.Name, st.LagP99)
}

func (s *story) checked(c demoCheck) {
	s.line("check", grouped(c.Compared), "keys compared under that load: %s", s.consistency(c))
}

func (s *story) consistency(c demoCheck) string {
	return fmt.Sprintf("%s at revisions %s = %s", s.verdict(c.Verdict == verify.Consistent, string(c.Verdict)),
		grouped(c.SourceRevision), grouped(c.StandbyRevision))
}

func (s *story) tampered(f demoFacts, named func(string) string) {
	t := f.Tampered
	s.line("tamper", grouped(len(t.Deleted)), "keys deleted behind the standby's back: noticed after %.1f ms, put back after %.1f ms", t.NoticedAfter, t.RepairedAfter)
	for _, key := range t.Deleted {
		s.detail(named(key))
	}
}

func (s *story) forged(demoFacts) {
	s.line("", "2", "more changed and created there: reported, and left to you")
}

func (s *story) found(f demoFacts, named func(string) string) {
	c := f.Tampered.Check
	s.line("check", grouped(len(c.Missed)+len(c.Differing)+len(c.Surplus)), "differ of %s: %s", grouped(c.Compared), s.consistency(c))
	for _, key := range c.Missed {
		s.detail(named(key) + " (missed)")
	}
	for _, key := range c.Differing {
		s.detail(named(key) + " (differing)")
	}
	for _, key := range c.Surplus {
		s.detail(named(key) + " (surplus)")
	}
}

func (s *story) repaired(f demoFacts) {
	s.line("repair", grouped(f.Repaired.Written+f.Repaired.Deleted), "put right while all goes on: %s", s.consistency(f.Repaired.Check))
}

// namedAtMost is how many missing writes are told by name.
const namedAtMost = 5

func (s *story) killed(f demoFacts, named func(string) string) {
	k := f.Killed
	s.line("kill", grouped(k.Unanswered), "writes under way when %s died, after %s in the last second", f.Primary.Name, grouped(k.Burst))
	has := fmt.Sprintf("it has %s's revision %s, the last one acknowledged is %s", f.Primary.Name, grouped(k.Reached), grouped(k.LastAcknowledged))
	if k.Missing == 0 {
		has = s.verdict(true, has)
	}
	s.line("loss", grouped(k.Missing), "of %s acknowledged writes not on %s", grouped(k.Acknowledged), f.Standby.Name)
	s.detail(has)
	for i, w := range k.MissingWrites {
		if i == namedAtMost {
			s.detail(fmt.Sprintf("and %s more: understudy demo -o json", grouped(k.Missing-i)))
			break
		}
		s.detail(fmt.Sprintf("%s at revision %s", named(w.Key), grouped(w.Revision)))
	}
}

// writeTable ends the story; the acts have been told already.
func (f demoFacts) writeTable(w io.Writer) error {
	var b strings.Builder
	if f.Config == "" {
		fmt.Fprintf(&b, "\nAll of it in %.1f s. Next:\n\n", f.Seconds)
		b.WriteString("  understudy demo --keep    the same pair, left running for all other commands\n")
		b.WriteString("  understudy init           a configuration for two clusters of your own\n")
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "\nBoth clusters and a daemon between them go on until Ctrl-C. In another terminal:\n\n")
	fmt.Fprintf(&b, "  export UNDERSTUDY_CONFIG=%s\n", f.Config)
	b.WriteString("  understudy status\n")
	b.WriteString("  understudy check\n")
	b.WriteString("  understudy simulate    # yellow: these etcds have no revision floor\n")
	fmt.Fprintf(&b, "  curl http://%s/check\n", f.Listen)
	fmt.Fprintf(&b, "  etcdctl --endpoints %s get --prefix --keys-only /registry/   # primary\n", f.Primary.Endpoint)
	fmt.Fprintf(&b, "  etcdctl --endpoints %s get --prefix --keys-only /registry/   # standby\n", f.Standby.Endpoint)
	_, err := io.WriteString(w, b.String())
	return err
}

// grouped writes a number with its thousands apart.
func grouped[N ~int | ~int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
