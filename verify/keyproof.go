package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
	"github.com/understudy-dr/understudy/source"
)

// keyProof tells a damaged value from a wrong encryption key, which look the
// same: it looks at the standby's other values of the resource. Writing with a
// wrong key could make unreadable what the API servers read, so without proof
// a value is left alone.
type keyProof struct {
	standby *clientv3.Client
	view    *scope.View
	report  Report             // lists all keys
	why     map[string]*string // by directory and key: why to leave the values alone
}

const (
	leaveWrongKey = "the standby's encryption configuration does not fit its values; correct that first"
	leaveUnproven = "one value alone does not tell whether it is damaged or the key in standby.encryption does not fit; " +
		"where that is what the API servers run with, delete the value on the standby and repair again: etcdctl del "
)

// leave says why a value of the standby that cannot be read must not be
// written anew, "" where it may: it is torn, or the key that sealed it is
// proven.
func (p *keyProof) leave(ctx context.Context, stored kv.Pair) (string, error) {
	_, err := p.view.InStandby(stored.Key, stored.Value)
	if errors.Is(err, registry.ErrUndecodable) {
		return "", nil
	}
	label := registry.SealedWith(stored.Value)
	key, ok := p.view.Scope.Parse(stored.Key)
	if ok && label != "" {
		if _, err := p.view.Recoder.PlainOfPrimary(key.GroupResource(), stored.Key, stored.Value); err == nil {
			return "", nil // a raw copy of the primary's, which the standby never could read
		}
	}
	if !ok || label == "" || !errors.Is(err, registry.ErrWrongKey) {
		return leaveWrongKey, nil
	}
	dir := strings.TrimSuffix(stored.Key, key.Name)
	if key.Namespace != "" {
		dir = strings.TrimSuffix(dir, key.Namespace+"/")
	}
	if known := p.why[dir+label]; known != nil {
		return *known, nil
	}
	why, err := p.look(ctx, dir, label)
	if err != nil {
		return "", fmt.Errorf("read the standby: %w", err)
	}
	if p.why == nil {
		p.why = map[string]*string{}
	}
	if why == leaveUnproven { // it is the only one
		why += remedy.Quote(stored.Key)
	}
	p.why[dir+label] = &why
	return why, nil
}

// look reads all values of a resource that one key sealed, by its name. Those
// outside the scope the standby's API servers wrote themselves: the key is
// right where it opens these. Where there are none, it has to open most.
func (p *keyProof) look(ctx context.Context, dir, label string) (why string, err error) {
	own, ownUnread, opened, unread := 0, 0, 0, 0
	err = source.Each(ctx, p.standby, dir, kv.PrefixEnd(dir), p.report.StandbyRevision, func(other kv.Pair) error {
		key, ok := p.view.Scope.Parse(other.Key)
		if !ok || registry.SealedWith(other.Value) != label {
			return nil
		}
		_, err := p.view.Recoder.PlainOfStandby(key.GroupResource(), other.Key, other.Value)
		switch out := p.view.Scope.Key(other.Key) == scope.Out; {
		case out && err == nil:
			own++
		case err == nil:
			opened++
		case slices.Contains(p.report.Undecodable.Keys, other.Key):
			unread++
		default:
			ownUnread++
		}
		return nil
	})
	switch {
	case err != nil, ownUnread == 0 && (own > 0 || opened > unread):
		return "", err
	case opened == 0 && unread == 1 && ownUnread == 0:
		return leaveUnproven, nil
	}
	return leaveWrongKey, nil
}
