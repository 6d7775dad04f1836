package console

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/understudy-dr/understudy/kv"
)

// Found is a fact, or why it is not known. The zero Found is not known.
type Found[T any] struct {
	Value T
	Known bool
	Why   string // it is not known
}

// FoundIf makes a fact of the two results of asking.
func FoundIf[T any](value T, err error) Found[T] {
	if err != nil {
		return Found[T]{Why: strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	return Found[T]{Value: value, Known: true}
}

// NotFound is a fact that could not be asked for.
func NotFound[T any](why string) Found[T] { return Found[T]{Why: why} }

// PreflightFacts are all that preflight judges by.
type PreflightFacts struct {
	Now              time.Time
	Pair             string
	Prefix           string   // sync.prefix, or the first of sync.prefixes
	Prefixes         []string // all of them
	Primary, Standby PreflightSide
	Standstill

	Address         string // access.address
	AskedFor        string // the host that stands for it; "" = it is a wildcard, and none is known
	Names           []string
	Resolved        Found[[]string] // the addresses that Address has now
	RegistrySecrets []string        // access.registrySecrets

	SameEncryption bool             // both configuration files are given and equal
	Only           Found[OnlyFacts] // keys in scope
	Swapped        Found[SwappedFacts]

	Same bool // both sides are one etcd cluster

	EqualSecrets []string            // access.equalSecrets
	Images       Found[[]ImageFacts] // of workloads in scope, where the standby pulls them
	Checks       []OwnCheck          // access.checks
	Skipped      map[string]string   // access.skip: why a check does not apply

	LeftOut Found[LeftOutFacts]

	Named     int                  // resources and patterns of them in breaker.rules, hold.objects and local
	Unmatched Found[[]LostPattern] // those that fit nothing

	Operators Found[[]OperatorFacts] // of the standby's own that will act on what is replicated
}

// Refusal is why something is not allowed, and what helps; "" = it is.
type Refusal struct{ Why, Remedy string }

// LostPattern is a resource that the configuration names and neither side has.
type LostPattern struct {
	At, Pattern string
	Near        string // what was probably meant; "" = nobody knows
}

// PreflightSide is what is known of one cluster.
type PreflightSide struct {
	Name string
	VIP  string

	Revision Found[kv.Revision]
	Floor    Found[FloorFacts] // of the standby
	Role     Found[RoleFacts]
	Guard    Found[Refusal]  // of the standby: whether the daemon may watch it
	Etcd     Found[string]   // version
	Keys     Found[int64]    // below the prefix
	Health   Found[[]Member] // of the etcd members
	Ailments []Ailment       // what is wrong with the members
	Kine     string          // why the side is no etcd; "" = it is one
	// Uncompared is why not all members were compared with each other; "" = they were.
	Uncompared string
	Outside    Found[[]OutsideFacts] // of the primary
	Encrypted  Found[[]EncryptedValues]
	// EncryptionGiven: the cluster's EncryptionConfiguration is configured.
	EncryptionGiven bool

	APIAddress  string        // host:port of its kubeconfig; "" = none
	OwnAPI      Found[string] // why the API server there does not read the side's etcd; "" = it does
	Kubernetes  Found[string]
	Flags       Found[map[string]map[string]string] // of each API server's Pod
	Signers     Found[SignerFacts]
	CRDs        Found[map[string]CRDFacts]
	CIDRs       Found[[]string]
	ClusterIPs  Found[map[string]ServiceFacts]
	PullSecrets Found[map[string]string] // namespace/name → digest
	UsedSecrets Found[[]string]          // by ServiceAccounts in scope or not

	Ports       map[int]Found[bool] // at the VIP; true = a connection was accepted
	Certificate Found[CertificateFacts]

	PreflightSurvey
	PreflightReach
}

// RoleFacts are what a cluster says it is. The zero RoleFacts are those of one
// that nothing was ever replicated into.
type RoleFacts struct {
	Standby bool
	Pair    string // of which it is the standby
	Refuses string // why nothing may be replicated into it from the other side; "" = it may
	Hidden  bool   // its account may not read the role, as a reader's; nobody says that it is a standby
}

// FloorFacts are the addresses of the standby's API servers, by their answers to
// a client that comes with the primary's newest revision.
type FloorFacts struct{ Expired, Accepted, Unasked []string }

// EncryptedValues are stored values of one encryption prefix.
type EncryptedValues struct {
	Prefix string // "k8s:enc:aescbc:v1:key1:"
	Count  int64
	Read   Found[bool] // whether the side's own configuration reads all of them; not known without it
	Unread int64       // those that it does not read
	Raw    int64       // on the standby: those that it does not read, and the primary's configuration does
	// Of the primary's, in scope: those that would be stored in clear on the
	// standby, and those that cannot be stored there at all, with a reason.
	Clear, Refused int64
	Why            string
}

// SignerFacts are what an API server accepts ServiceAccount tokens by.
type SignerFacts struct {
	Issuer string
	Keys   []string
}

// CRDFacts are the versions of a CustomResourceDefinition.
type CRDFacts struct{ Served, Stored []string }

// ServiceFacts are the ClusterIPs of a Service.
type ServiceFacts struct {
	IPs     []string
	InScope bool
}

// CertificateFacts are what a VIP shows on port 443 when asked for the address.
type CertificateFacts struct {
	Digest              string
	NotBefore, NotAfter time.Time
	Uncovered           []string // of the address and the other names
	Untrusted           string   // why the system's roots do not vouch for it; "" = they do
}

// OnlyFacts count the keys in scope that only one side has, by resource.
type OnlyFacts struct {
	Primary, Standby map[string]int64
	Both             int64
	Replaced         map[string]int64 // of Both: the standby has another object (UID) of that name, and no rule gives it up
}

// PreflightState is the outcome of one check.
type PreflightState string

// The outcomes.
const (
	CheckOK   PreflightState = "ok"
	CheckWarn PreflightState = "warn"
	CheckFail PreflightState = "fail"
	Unchecked PreflightState = "not checked" // for want of input; never ok
	// NotApplicable is what access.skip says of a check, or a check where there is
	// nothing that it could look at. It does not count.
	NotApplicable PreflightState = "not applicable"
)

// PreflightLine is one check.
type PreflightLine struct {
	Group  string         `json:"group"`
	Check  string         `json:"check"` // stable, for scripts
	State  PreflightState `json:"state"`
	Text   string         `json:"text"`
	Remedy string         `json:"remedy,omitempty"`
}

// Preflight says whether two clusters are fit to be a pair. Its JSON is a contract.
type Preflight struct {
	State PreflightState         `json:"state"` // the worst; not checked is worse than ok
	Pair  string                 `json:"pair"`
	Time  time.Time              `json:"time"`
	Count map[PreflightState]int `json:"count"`
	Lines []PreflightLine        `json:"lines"`

	Before  *time.Time        `json:"before,omitempty"`  // the last one, where it is known
	Changes []PreflightChange `json:"changes,omitempty"` // since then
}

// preflightStates that count, from the best to the worst.
var preflightStates = []PreflightState{CheckOK, Unchecked, CheckWarn, CheckFail}

// JudgePreflight says what the facts amount to. It is pure.
func JudgePreflight(f PreflightFacts) Preflight {
	p := Preflight{State: CheckOK, Pair: f.Pair, Time: f.Now, Count: map[PreflightState]int{}, Lines: []PreflightLine{}}
	for _, rule := range preflightRules {
		lines := rule.judge(f)
		if why, skipped := f.Skipped[rule.check]; skipped {
			lines = checked(NotApplicable, "", "%s: %s", rule.check, why)
		}
		for _, line := range lines {
			line.Group, line.Check = rule.group, rule.check
			p.Lines = append(p.Lines, line)
			p.Count[line.State]++
		}
	}
	for _, s := range preflightStates {
		if p.Count[s] > 0 {
			p.State = s
		}
	}
	return p
}

// WriteText writes the lines for people, by group.
func (p Preflight) WriteText(w io.Writer, style Style) error {
	var b screen
	group := ""
	for _, line := range p.Lines {
		if line.Group != group {
			if group != "" {
				b.WriteString("\n")
			}
			group = line.Group
			b.WriteString(group + "\n")
		}
		state := fmt.Sprintf("%-*s", label, strings.Replace(string(line.State), "not applicable", "skipped", 1))
		if style.Color {
			state = preflightColors[line.State] + state + "\x1b[0m"
		}
		for i, text := range wrap(line.Text, width-label-2) {
			if i > 0 {
				state = strings.Repeat(" ", label)
			}
			fmt.Fprintf(&b, "  %s%s\n", state, text)
		}
		if line.Remedy != "" {
			b.steps(strings.Repeat(" ", label+2), line.Remedy)
		}
	}
	p.writeChanges(&b)
	fmt.Fprintf(&b, "\n%s\n", p.conclusion())
	_, err := io.WriteString(w, b.String())
	return err
}

var preflightColors = map[PreflightState]string{CheckOK: "\x1b[32m", CheckWarn: "\x1b[33m", CheckFail: "\x1b[31m", Unchecked: "\x1b[36m", NotApplicable: "\x1b[2m"}

func (p Preflight) conclusion() string {
	counts := fmt.Sprintf("%d ok, %d warn, %d fail, %d not checked", p.Count[CheckOK], p.Count[CheckWarn], p.Count[CheckFail], p.Count[Unchecked])
	if n := p.Count[NotApplicable]; n > 0 {
		counts += fmt.Sprintf(", %d skipped", n)
	}
	switch p.State {
	case CheckOK:
		return "fit to be a pair: " + counts
	case CheckFail:
		return "not fit to be a pair: " + counts
	}
	return "nothing found that forbids it: " + counts
}

// checked is the one line of a check; the remedy may be empty.
func checked(state PreflightState, remedy, format string, args ...any) []PreflightLine {
	return []PreflightLine{{State: state, Text: fmt.Sprintf(format, args...), Remedy: remedy}}
}

// unchecked says for want of what.
func unchecked(remedy, what string, why ...string) []PreflightLine {
	var reasons []string
	for _, w := range why {
		if w != "" {
			reasons = append(reasons, w)
		}
	}
	return checked(Unchecked, remedy, "%s: %s", what, strings.Join(reasons, "; "))
}

// both are the facts of the two sides, where both are known; else the line that
// says why not.
func both[T any](f PreflightFacts, what, remedy string, get func(PreflightSide) Found[T]) (primary, standby T, missing []PreflightLine) {
	p, s := get(f.Primary), get(f.Standby)
	if p.Known && s.Known {
		return p.Value, s.Value, nil
	}
	why := func(side PreflightSide, found Found[T]) string {
		if found.Known {
			return ""
		}
		return side.Name + ": " + orUnknown(found.Why)
	}
	return p.Value, s.Value, unchecked(remedy, what, why(f.Primary, p), why(f.Standby, s))
}

func orUnknown(why string) string {
	if why == "" {
		return "not asked"
	}
	return why
}
