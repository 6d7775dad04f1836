package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/cluster"
	"github.com/understudy-dr/understudy/config"
	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/replica"
	"github.com/understudy-dr/understudy/role"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// etcdSide is one etcd while it is read.
type etcdSide struct {
	preflight *preflight
	config    config.Cluster
	facts     *console.PreflightSide
	primary   bool
	look      func(key string, stored []byte) (scope.Object, error)
	plain     func(groupResource, key string, stored []byte) ([]byte, error)
	recode    func(groupResource, key string, stored []byte) (out, plain []byte, err error) // nil for the standby

	cluster *cluster.Cluster
	id      cluster.Identity
	cursor  *source.Cursor
	err     error

	keys      int64
	bytes     int64 // of keys and values
	survey    *survey
	encrypted map[string]*console.EncryptedValues
}

func (e *etcdSide) dial(ctx context.Context) {
	e.encrypted = map[string]*console.EncryptedValues{}
	e.survey = newSurvey(e.preflight.pair.Access.EqualSecrets)
	if e.cluster, e.err = dial(ctx, e.config); e.err == nil {
		e.id, e.err = e.cluster.Identify(ctx, e.preflight.view.Scope.Prefix())
	}
}

// health asks how the members are, and compares what they hold.
func (e *etcdSide) health(ctx context.Context, standby *cluster.Cluster) {
	switch {
	case errors.Is(e.err, cluster.ErrKine):
		e.facts.Kine = cluster.ErrKine.Error()
	case e.err != nil:
		e.facts.Health = console.NotFound[[]console.Member](oneLine(e.err))
	default:
		history := historyOfStandby(e.cluster)
		if e.primary {
			history = historyOfPrimary(e.cluster, standby, e.preflight.view.Scope.Prefix())
		}
		list, ailments, unasked, err := attendMembers(ctx, e.cluster, true, history)
		e.facts.Health, e.facts.Ailments, e.facts.Uncompared = console.FoundIf(list, err), ailments, unasked
	}
}

func (e *etcdSide) open(ctx context.Context) {
	if e.err == nil {
		begin, end := e.preflight.view.Range()
		e.cursor, e.err = source.Open(ctx, e.cluster.Client, begin, end, 0)
	}
}

// role is what the cluster says it is, and whether the peer may be replicated
// into it. An etcd that was not reached says nothing.
func (e *etcdSide) role(ctx context.Context, peer cluster.Identity) console.Found[console.RoleFacts] {
	if e.cursor == nil {
		return console.NotFound[console.RoleFacts](oneLine(e.err))
	}
	state, err := role.Read(ctx, e.cluster.Client)
	facts := console.RoleFacts{Standby: state.Role == role.Standby, Pair: state.Pair}
	if refused := state.AcceptsReplication(cluster.FormatID(peer.ID)); refused != nil && peer.ID != 0 {
		facts.Refuses = oneLine(errors.Unwrap(refused))
	}
	if e.primary && cluster.IsDenied(err) {
		facts.Hidden, err = true, nil
	}
	return console.FoundIf(facts, err)
}

// guard asks whether the daemon may watch the cluster.
func (e *etcdSide) guard(ctx context.Context) console.Found[console.Refusal] {
	if e.err != nil {
		return console.NotFound[console.Refusal](oneLine(e.err))
	}
	err := replica.MayWatch(ctx, e.cluster, e.preflight.view, e.id.Revision)
	if remedy.CodeOf(err) == remedy.Auth {
		return console.FoundIf(console.Refusal{Why: oneLine(err), Remedy: remedy.Of(err)}, nil)
	}
	return console.FoundIf(console.Refusal{}, err)
}

// word is what verify.Attend calls the side here.
func (e *etcdSide) word() string {
	if e.primary {
		return "primary"
	}
	return "standby"
}

// members counts those that vote.
func (e *etcdSide) members(ctx context.Context) {
	if e.err != nil {
		e.facts.Members = console.NotFound[int](oneLine(e.err))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	list, err := e.cluster.Client.MemberList(ctx)
	n := 0
	if err == nil {
		for _, m := range list.Members {
			if !m.IsLearner {
				n++
			}
		}
	}
	e.facts.Members = console.FoundIf(n, err)
}

func (e *etcdSide) close() {
	if e.cursor != nil {
		e.cursor.Close()
	}
	if e.cluster != nil {
		e.cluster.Close()
	}
}

// tally counts a key and tells whether it is in scope, and which object it is.
func (e *etcdSide) tally(p *kv.Pair) (in bool, object scope.Object) {
	if p == nil {
		return false, object
	}
	if e.preflight.view.Scope.Below(p.Key) { // others may lie between several prefixes
		e.keys++
	}
	e.bytes += int64(len(p.Key) + len(p.Value))
	object, err := e.look(p.Key, p.Value)
	in = object.In || err != nil && e.preflight.view.Scope.Key(p.Key) != scope.Out // what cannot be read is there all the same
	if k, ok := e.preflight.view.Scope.Parse(p.Key); ok {
		e.survey.see(k, in, func() ([]byte, error) { return e.plain(k.GroupResource(), p.Key, p.Value) })
	}
	prefix := encryptionPrefix(p.Value)
	if prefix == "" || !in && !e.facts.EncryptionGiven { // what is out of scope proves the key as well
		return in, object
	}
	v := e.encrypted[prefix]
	if v == nil {
		v = &console.EncryptedValues{Prefix: prefix, Read: console.Found[bool]{Known: e.facts.EncryptionGiven, Value: true}}
		e.encrypted[prefix] = v
	}
	v.Count++
	resource := e.preflight.resource(p.Key)
	if e.facts.EncryptionGiven {
		if _, err := e.plain(resource, p.Key, p.Value); err != nil { // two keys may have one name
			if _, err := e.preflight.view.Recoder.PlainOfPrimary(resource, p.Key, p.Value); !e.primary && in && err == nil {
				v.Raw++
				return in, object
			}
			v.Unread++
			v.Read.Value, v.Read.Why = false, oneLine(err)
			return in, object
		}
	}
	if in && e.recode != nil {
		switch out, _, err := e.recode(resource, p.Key, p.Value); {
		case err != nil:
			v.Refused++
			v.Why = oneLine(err)
		case encryptionPrefix(out) == "":
			v.Clear++
		}
	}
	return in, object
}

// encryptionPrefix is "k8s:enc:aescbc:v1:key1:" of a value that begins so.
func encryptionPrefix(stored []byte) string {
	const mark = "k8s:enc:"
	head := string(stored[:min(len(stored), 300)])
	if !strings.HasPrefix(head, mark) {
		return ""
	}
	parts := strings.SplitN(head, ":", 6)
	if len(parts) < 6 {
		return mark
	}
	return strings.Join(parts[:5], ":") + ":"
}

// conclude writes down what was read; err is that of reading both.
func (e *etcdSide) conclude(err error) {
	e.survey.ofSide(e.facts, cmp.Or(e.err, err))
	switch {
	case e.err != nil:
		e.facts.Answers = console.FoundIf(oneLine(e.err), nil)
	case err != nil && strings.HasPrefix(err.Error(), "read the "+e.word()+":"): // it fell silent
		e.facts.Answers = console.FoundIf(err.Error(), nil)
	case err != nil:
		e.facts.Answers = console.NotFound[string](err.Error())
	default:
		e.facts.Answers = console.FoundIf("", nil)
		e.facts.Link.Value.Keys, e.facts.Link.Value.Bytes = e.keys, e.bytes
	}
	if e.err != nil || err != nil {
		why := oneLine(errors.Join(e.err, err))
		e.facts.Revision, e.facts.Etcd = console.NotFound[kv.Revision](why), console.NotFound[string](why)
		e.facts.Keys, e.facts.Encrypted = console.NotFound[int64](why), console.NotFound[[]console.EncryptedValues](why)
		return
	}
	e.facts.Revision = console.FoundIf(e.id.Revision, nil)
	e.facts.Etcd = console.Found[string]{Value: e.id.Version, Known: e.id.Version != "", Why: "no member says its version"}
	e.facts.Keys = console.FoundIf(e.keys, nil)
	var values []console.EncryptedValues
	for _, v := range e.encrypted {
		values = append(values, *v)
	}
	slices.SortFunc(values, func(a, b console.EncryptedValues) int { return strings.Compare(a.Prefix, b.Prefix) })
	e.facts.Encrypted = console.FoundIf(values, nil)
}
