// Package scope decides which keys of the primary take part in replication.
//
// A Scope is a list of rules: those of a profile, then the configured ones.
// The last rule that matches a key wins, and a key that none matches is in:
// what is unknown is replicated rather than lost. Understudy's own keys and the
// API server's compaction record are out whatever the rules say.
//
// Most keys are decided by the key alone. Where only the object can tell (the
// type of a Secret, who made it), Key says AskObject and Judge decides. Orphaned finds the
// objects that the standby's garbage collector would delete because the scope
// leaves their owners out.
//
// The package is pure, and a Scope may be used by several goroutines.
package scope

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/registry"
)

// ownPrefix is where understudy keeps its state.
const ownPrefix = "/understudy/"

// Verdict is what a Scope says about a key.
type Verdict int

// The verdicts. The zero Verdict keeps a key out.
const (
	Out       Verdict = iota
	In                // replicated
	AskObject         // only Judge can tell
)

func (v Verdict) String() string {
	switch v {
	case Out:
		return "out"
	case In:
		return "in"
	case AskObject:
		return "ask the object"
	}
	return fmt.Sprintf("Verdict(%d)", int(v))
}

// Config is what a Scope is made of.
type Config struct {
	// Prefix of the keys that take part, with a slash at both ends; "" means
	// registry.DefaultPrefix, and "/" every key that begins with a slash.
	Prefix string
	// Prefixes are given instead of Prefix where there are several, the one of the
	// Kubernetes API server first. The others are those of aggregated API servers.
	Prefixes []string
	// Profile is one of Profiles; "" means DefaultProfile.
	Profile string
	// TokensShared takes ServiceAccount-token Secrets in, which the profiles
	// leave out: the API servers of both sides sign with the same keys.
	TokensShared bool
	// Exclude comes after the profile's rules, Include after Exclude.
	Exclude, Include []Rule
	// Replace are the objects of the standby's own that the primary's of the same
	// name may replace.
	Replace []Rule
}

// Scope decides about keys. Make one with New.
type Scope struct {
	prefixes []string // of the keys that take part; the API server's first
	roots    []string // of objects; the API server's first
	nested   []string // roots, the longest first
	rules    []rule   // in order: the last match wins
	replace  []rule   // see Replaces

	mu     sync.RWMutex
	places map[string]*place // by directory of the key
	// byResource holds the rules that match a resource, by group and plural.
	byResource map[[2]string][]*rule
	// byKind holds the resource of an owner's API version and kind.
	byKind map[[2]string]registry.Key
	// learned are the plurals of the kinds that definitions have told of.
	learned map[schema.GroupKind]string
}

// maxPlaces bounds the cache; where it is full it begins anew. There is one
// place per resource and namespace.
const maxPlaces = 1 << 16

// New checks the rules. Its errors name the rule as the configuration file
// does ("sync.exclude[0].resources: …") and are a *RuleError then.
func New(c Config) (*Scope, error) {
	s := &Scope{places: map[string]*place{}, byResource: map[[2]string][]*rule{}, byKind: map[[2]string]registry.Key{}}
	if err := s.setPrefixes(c); err != nil {
		return nil, err
	}
	if c.Profile == "" {
		c.Profile = DefaultProfile
	}
	rules, err := profileRules(c.Profile)
	if err != nil {
		return nil, err
	}
	if c.TokensShared {
		rules = slices.DeleteFunc(rules, func(r rule) bool { return slices.Equal(r.Types, []string{ServiceAccountToken}) })
	}
	s.rules = rules
	for i, r := range c.Exclude {
		if err := s.add(r, Out, fmt.Sprintf("sync.exclude[%d]", i)); err != nil {
			return nil, err
		}
	}
	for i, r := range c.Include {
		if err := s.add(r, In, fmt.Sprintf("sync.include[%d]", i)); err != nil {
			return nil, err
		}
	}
	for i, r := range c.Replace {
		compiled, err := compile(r, In, fmt.Sprintf("sync.replace[%d]", i))
		if err != nil {
			return nil, err
		}
		s.replace = append(s.replace, compiled)
	}
	return s, nil
}

func (s *Scope) add(r Rule, v Verdict, origin string) error {
	compiled, err := compile(r, v, origin)
	if err != nil {
		return err
	}
	s.rules = append(s.rules, compiled)
	return nil
}

// Key decides about a key as far as the key alone can tell. It does not
// allocate, except for the first key of a resource and namespace.
func (s *Scope) Key(key string) Verdict {
	if !s.below(key) || locked(key) != "" {
		return Out
	}
	slash := strings.LastIndexByte(key, '/')
	if slash == len(key)-1 {
		return s.slow(key)
	}
	s.mu.RLock()
	p := s.places[key[:slash]]
	s.mu.RUnlock()
	if p == nil {
		k, ok := s.Parse(key)
		if !ok {
			return s.slow(key)
		}
		p = s.place(strings.Clone(key[:slash]), k, len(key)-len(k.Name))
	}
	return p.verdict(key)
}

// slow decides without the cache.
func (s *Scope) slow(key string) Verdict {
	k, parsed := s.Parse(key)
	var out tally
	for _, r := range slices.Backward(s.rules) {
		if r.matches(key, k, parsed) {
			if out.add(r.verdict); !r.asks() {
				return out.verdict()
			}
		}
	}
	out.add(In)
	return out.verdict()
}

// Hash identifies everything that decides: a Scope with the same Hash decides
// the same about every key. It is stable across runs and machines.
func (s *Scope) Hash() string {
	type decider struct {
		Verdict Verdict
		Rule    Rule
		Maker   string `json:",omitempty"`
	}
	all := struct {
		Version int // of the meaning of rules
		Prefix  string
		More    []string `json:",omitempty"` // prefixes
		Rules   []decider
		Replace []decider `json:",omitempty"`
	}{Version: 1, Prefix: s.prefixes[0], More: slices.Sorted(slices.Values(s.prefixes[1:]))}
	for _, r := range s.rules {
		all.Rules = append(all.Rules, decider{r.verdict, r.sorted(), r.makerName()})
	}
	for _, r := range s.replace {
		all.Replace = append(all.Replace, decider{Verdict: r.verdict, Rule: r.sorted()})
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic("scope: " + err.Error()) // strings and numbers always encode
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// tally collects the verdicts of the rules that may match.
type tally struct{ out, in bool }

func (t *tally) add(v Verdict) {
	t.out = t.out || v == Out
	t.in = t.in || v == In
}

func (t *tally) verdict() Verdict {
	switch {
	case t.out && t.in:
		return AskObject
	case t.in:
		return In
	}
	return Out
}
