package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Recoder turns what the primary stored into what the standby should store:
// the same object, encrypted so that the standby's API servers can read it.
type Recoder struct {
	primary, standby *Encryption
	same             bool
}

// NewRecoder makes a Recoder from both clusters' encryption. Each may be nil:
// no configuration given.
func NewRecoder(primary, standby *Encryption) *Recoder {
	return &Recoder{primary: primary, standby: standby, same: primary.equal(standby)}
}

// Configured tells whether the encryption of one side at least is known.
func (r *Recoder) Configured() bool { return r != nil && (r.primary != nil || r.standby != nil) }

// Hash changes with the keys and their order on either side; "" where neither is
// configured. It tells nothing of the secrets.
func (r *Recoder) Hash() string {
	if !r.Configured() {
		return ""
	}
	h := sha256.New()
	for _, side := range []*Encryption{r.primary, r.standby} {
		side.writeTo(h)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// writeTo writes what distinguishes one configuration from another.
func (e *Encryption) writeTo(w io.Writer) {
	if e == nil {
		_, _ = io.WriteString(w, "none\n") // a hash takes everything
		return
	}
	for _, resource := range slices.Sorted(maps.Keys(e.providers)) {
		for _, p := range e.providers[resource] {
			fmt.Fprintf(w, "%q %q %q %x\n", resource, p.kind, p.prefix, sha256.Sum256(p.secret[:]))
		}
	}
	_, _ = io.WriteString(w, "end\n")
}

// Same tells whether both clusters encrypt alike, so that every value is
// copied as it is.
func (r *Recoder) Same() bool { return r.same }

// Recode returns what the standby should store at etcdKey, and the decrypted
// object.
//
// out is stored itself, the same slice, wherever the standby reads those very
// bytes: a plain value unless the standby's configuration has providers for
// the resource and identity is not among them; a value whose provider, key
// name and secret the standby has too; everything where both configurations
// are equal. Otherwise the object is decrypted and encrypted with the
// standby's first provider; that differs with each call, so compare plain
// values, never encrypted ones.
//
// plain is nil, without an error, for a value that is copied without being
// understood: an encrypted one where neither side has a configuration, or one
// of a kms provider that both sides name.
//
// What cannot be decrypted, or would have to be stored in plain text because
// only the primary's configuration is given, is an error and not copied.
func (r *Recoder) Recode(groupResource, etcdKey string, stored []byte) (out, plain []byte, err error) {
	if r.opaque(groupResource, stored) {
		return stored, nil, nil
	}
	plain, wrote, err := r.primary.decrypt(groupResource, etcdKey, stored)
	if err != nil {
		return nil, nil, err
	}
	if r.same || r.standby.reads(groupResource, wrote) {
		return stored, plain, nil
	}
	out, err = r.standby.Encrypt(groupResource, etcdKey, plain)
	return out, plain, err
}

// Store gives plain as the standby should store it at etcdKey, where like is
// what it would have stored there for the object before it was changed.
func (r *Recoder) Store(groupResource, etcdKey string, plain, like []byte) ([]byte, error) {
	if !bytes.HasPrefix(like, encryptedPrefix) {
		return plain, nil
	}
	return r.standby.Encrypt(groupResource, etcdKey, plain)
}

// Opaque tells whether Recode would copy a value without understanding it.
func (r *Recoder) Opaque(groupResource string, stored []byte) bool {
	return r.opaque(groupResource, stored)
}

// opaque tells whether a value is copied although nothing here can read it.
func (r *Recoder) opaque(groupResource string, stored []byte) bool {
	if !bytes.HasPrefix(stored, encryptedPrefix) {
		return false
	}
	if r.primary == nil {
		return r.standby == nil
	}
	for _, p := range r.primary.of(groupResource) {
		if p.wrote(stored) {
			return p.kind == kmsKind && r.standby.reads(groupResource, p)
		}
	}
	return false
}

// PlainOfPrimary decrypts what the primary stored. Its errors are Decrypt's.
func (r *Recoder) PlainOfPrimary(groupResource, etcdKey string, stored []byte) ([]byte, error) {
	return r.primary.Decrypt(groupResource, etcdKey, stored)
}

// PlainOfStandby decrypts what the standby stored. Its errors are Decrypt's.
func (r *Recoder) PlainOfStandby(groupResource, etcdKey string, stored []byte) ([]byte, error) {
	return r.standby.Decrypt(groupResource, etcdKey, stored)
}
