package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// The states of a daemon.
const (
	Connecting = "connecting" // a cluster does not answer; retried for ever
	Waiting    = "waiting"    // another daemon leads
	Copying    = "copying"
	Streaming  = "streaming"
	Paused     = "paused"
	Halted     = "halted" // going on would be wrong; Error and Remedy say why
)

// ReportEvery is how often a leading daemon writes its Report to the standby.
const ReportEvery = 5 * time.Second

// staleAfter is how old a report may be. It leaves room for clocks that differ
// and for a standby that is slow to take the write.
const staleAfter = 30 * time.Second

// Report is a daemon's account of itself. The one that leads keeps its last
// one in the standby's etcd, as JSON, for status.
type Report struct {
	Time     time.Time `json:"time"`     // the daemon's clock
	Identity string    `json:"identity"` // of the daemon: host/process
	State    string    `json:"state"`
	Since    time.Time `json:"since"`           // of the state
	Error    string    `json:"error,omitempty"` // why, while connecting or halted
	Remedy   string    `json:"remedy,omitempty"`
	Tripped  bool      `json:"tripped,omitempty"` // the breaker has stopped replication
	Leading  bool      `json:"leading,omitempty"` // it may write to the standby, and no other daemon

	PrimaryConnected bool        `json:"primaryConnected"`
	StandbyConnected bool        `json:"standbyConnected"`
	SourceRevision   kv.Revision `json:"sourceRevision"`  // of the checkpoint
	StandbyRevision  kv.Revision `json:"standbyRevision"` // at which the checkpoint was written
	Lag              Lag         `json:"lag"`

	// Counters since the daemon started.
	Events  int64            `json:"events"`
	Bytes   int64            `json:"bytes"`
	Resyncs map[string]int64 `json:"resyncs,omitempty"` // by reason
	Errors  map[string]int64 `json:"errors,omitempty"`  // by reason
	Drift   *Drift           `json:"drift,omitempty"`
	Deletes map[string]int64 `json:"deletes,omitempty"` // applied to the standby, by resource
	// Deletions are the runs of them that are worth a word, of the last day, the newest first.
	Deletions []Deletion `json:"deletions,omitempty"`

	Held      *int64 `json:"held,omitempty"`      // objects that are held on the standby; nil: unknown
	HoldError string `json:"holdError,omitempty"` // why workloads of the standby are not kept at zero
	// PrimaryItself are objects that describe the primary itself, each with the reason.
	PrimaryItself []string `json:"primaryItself,omitempty"`

	LastCheck *Summary            `json:"lastCheck,omitempty"` // nil: none yet
	Live      *Summary            `json:"live,omitempty"`      // the live account; nil: none
	Scope     map[string]Resource `json:"scope,omitempty"`
	LeftOut   *LeftOut            `json:"leftOut,omitempty"`   // of it what has value; nil: unknown
	ScopeTime *time.Time          `json:"scopeTime,omitempty"` // when it was counted

	Apart        []string      `json:"membersApart,omitempty"` // how members of a cluster disagree, by their data
	Certificates []Certificate `json:"certificates,omitempty"`
	StaleKeys    []string      `json:"staleKeys,omitempty"` // EncryptionConfigurations that have changed since they were read
}

// Lag is how far the standby is behind; nil means that nobody knows.
type Lag struct {
	Seconds   *float64 `json:"seconds"`
	Revisions *int64   `json:"revisions"`
	Known     bool     `json:"known"`
}

// KnownLag is a lag that is known.
func KnownLag(seconds float64, revisions int64) Lag { return Lag{&seconds, &revisions, true} }

// Certificate is a certificate that a connection depends on.
type Certificate struct {
	Side     string    `json:"side"`
	File     string    `json:"file"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"notAfter"`
	Wrong    string    `json:"wrong,omitempty"` // why it cannot be used; NotAfter is long past then
}

// Encode is the form in which a report is stored.
func (r Report) Encode() (string, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode the daemon's report: %w", err)
	}
	return string(raw), nil
}

// DecodeReport reads a stored report.
func DecodeReport(raw []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("decode the daemon's report: %w", err)
	}
	return &r, nil
}

// byExpiry sorts a copy, the first to expire first.
func byExpiry(certificates []Certificate) []Certificate {
	return slices.SortedFunc(slices.Values(certificates), func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}
