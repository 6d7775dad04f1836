package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/remedy"
	"github.com/understudy-dr/understudy/scope"
)

// unreadableError is a value of the primary that cannot be understood.
type unreadableError struct {
	key string
	err error
}

func (e *unreadableError) Error() string { return e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

const giveEncryption = "set primary.encryption and standby.encryption to the files that their API servers run with (--encryption-provider-config); " +
	"where a look at both has shown that the keys are the same and neither file can be given: sync.accept: [encryption]; nothing was skipped"

// unreadable gives such a value its remedy. Nothing is skipped: replication
// stops before it.
func unreadable(view *scope.View, key string, err error) error {
	e := &remedy.Error{Op: "read the primary's object", Err: &unreadableError{key, err}}
	switch {
	case errors.Is(err, scope.ErrSealed):
		e.Code, e.Remedy = remedy.Refused, giveEncryption
	case errors.Is(err, scope.ErrCannotHold):
		e.Code = remedy.Auth
		e.Remedy = "set primary.encryption and standby.encryption to the EncryptionConfiguration files that the API servers use; where a KMS has the keys, " +
			"and the standby's controllers of this kind do not run, take the hold back (hold.objects: [{resources: […], patch: {}}]); nothing was skipped"
	case isKeyProblem(err):
		e.Code = remedy.Auth
		e.Remedy = "set primary.encryption and standby.encryption to the EncryptionConfiguration files that the API servers use now; nothing was skipped"
	case errors.Is(err, registry.ErrNotEditable):
		e.Code = remedy.Refused
		e.Remedy = "the object is in order, but old or new; at the primary, its API server stores it anew in its version of today: " + rewriteOnPrimary(view, key) +
			"; nothing was skipped"
	default:
		e.Code = remedy.Failed
		e.Remedy = "the value is damaged on the primary as well: repair or delete the object there, or exclude it (sync.exclude: [{keys: […]}]); nothing was skipped"
	}
	return e
}

// rewriteOnPrimary is the command that has the primary's API server store an object
// anew, in the version in which it stores objects today.
func rewriteOnPrimary(view *scope.View, key string) string {
	k, ok := view.Scope.Parse(key)
	if !ok {
		return "kubectl replace"
	}
	command := "kubectl get " + k.GroupResource()
	if k.Namespace != "" {
		command += " -n " + k.Namespace
	}
	return command + " " + k.Name + " -o json | kubectl replace -f -"
}

// unreadableThere is for a value that the standby encrypted with a key which
// the configuration does not have: what would be written with those that it
// has, the standby's API servers could not read.
func unreadableThere(err error) error {
	return &remedy.Error{Op: "read the standby's object", Err: err, Code: remedy.Auth,
		Remedy: "set standby.encryption to the EncryptionConfiguration file that the standby's API servers use now; " +
			"if they cannot read the object either, delete it there; nothing was skipped"}
}

func isKeyProblem(err error) bool {
	return errors.Is(err, registry.ErrWrongKey) || errors.Is(err, registry.ErrNoKey)
}

// mended reports whether the stream stumbled over a value that has been
// repaired or deleted on the primary since. The stream would meet it again;
// comparing both sides as they are now does not.
func (s *session) mended(ctx context.Context, err error) (bool, error) {
	var broken *unreadableError
	if !errors.As(err, &broken) {
		return false, nil
	}
	resp, err := s.primary.Get(ctx, broken.key)
	if err != nil {
		return false, fmt.Errorf("look at %s on the primary again: %w", broken.key, err)
	}
	if len(resp.Kvs) == 0 {
		return true, nil
	}
	_, err = s.View.Want(broken.key, resp.Kvs[0].Value)
	return err == nil, nil
}
