package registry

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/remedy"
)

// Encryption says how one cluster's API servers encrypt at rest: a parsed
// EncryptionConfiguration. A nil Encryption means that no configuration was
// given, which is not the same as one that says "identity": with nil, nobody
// knows what the cluster does.
type Encryption struct {
	// providers by resource, as the file names them: "secrets",
	// "deployments.apps", "*.apps", "*." (the core group), "*.*".
	providers map[string][]provider
}

// identityOnly is what Kubernetes does with a resource that no entry names
// (encryptionconfig's transformerFromOverrides).
var identityOnly = []provider{{kind: identityKind}}

// of returns the providers of a resource, the writing one first. The most
// specific entry counts: the resource, then its group, then everything.
func (e *Encryption) of(groupResource string) []provider {
	if len(e.providers) == 0 {
		return identityOnly
	}
	if found, ok := e.providers[groupResource]; ok {
		return found
	}
	_, group, _ := strings.Cut(groupResource, ".")
	if found, ok := e.providers["*."+group]; ok {
		return found
	}
	if found, ok := e.providers["*.*"]; ok {
		return found
	}
	return identityOnly
}

// Decrypt gives the object that was stored at etcdKey. A value that is not
// encrypted is given back as it is, whatever the configuration.
//
// The error is ErrNoKey where the value needs a key that the configuration
// does not have (every encrypted value, for a nil Encryption), and ErrWrongKey
// where the key of that name does not fit. AES-CBC has no integrity: a wrong
// key passes its padding check about once in 256 values; so there the result
// must look like an object too.
func (e *Encryption) Decrypt(groupResource, etcdKey string, stored []byte) ([]byte, error) {
	plain, _, err := e.decrypt(groupResource, etcdKey, stored)
	return plain, err
}

// decrypt is Decrypt, and says which provider read the value; the zero
// provider for one that is not encrypted.
func (e *Encryption) decrypt(groupResource, etcdKey string, stored []byte) ([]byte, provider, error) {
	if !bytes.HasPrefix(stored, encryptedPrefix) {
		return stored, provider{}, nil
	}
	if e == nil {
		return nil, provider{}, noConfiguration(etcdKey, stored)
	}
	var cause error
	for _, p := range e.of(groupResource) {
		if !p.wrote(stored) {
			continue
		}
		plain, err := p.open(etcdKey, stored)
		if err == nil {
			return plain, p, nil
		}
		if cause == nil {
			cause = err
		}
	}
	if cause == nil {
		cause = fmt.Errorf("%w: no provider for %s has %s", ErrNoKey, groupResource, keyLabel(stored))
	}
	return nil, provider{}, &remedy.Error{
		Op:     "decrypt " + etcdKey,
		Err:    cause,
		Remedy: "give understudy the EncryptionConfiguration that this cluster's API servers run with, with every key that still decrypts something (--encryption-provider-config on a control plane node)",
		Code:   remedy.Auth,
	}
}

// Encrypt writes plain as the cluster's API servers would at etcdKey: with the
// first provider of the resource. For a nil Encryption the error is ErrNoKey.
func (e *Encryption) Encrypt(groupResource, etcdKey string, plain []byte) ([]byte, error) {
	if e == nil {
		return nil, &remedy.Error{
			Op:     "encrypt " + etcdKey,
			Err:    fmt.Errorf("%w: no EncryptionConfiguration given", ErrNoKey),
			Remedy: "name the cluster's EncryptionConfiguration as encryption in the config; one with identity: {} alone where the cluster stores in plain text",
			Code:   remedy.Auth,
		}
	}
	first := e.of(groupResource)[0]
	out, err := first.seal(etcdKey, plain)
	if err != nil {
		return nil, &remedy.Error{
			Op:     "encrypt " + etcdKey,
			Err:    err,
			Remedy: "put a provider other than kms first in the EncryptionConfiguration that understudy is given",
			Code:   remedy.Auth,
		}
	}
	return out, nil
}

// reads tells whether the cluster's API servers can read the value that wrote
// left in etcd (the zero provider: a plain value), without any change. Where
// two keys share a name the first one counts, so that a value is never left to
// the luck of AES-CBC's padding.
func (e *Encryption) reads(groupResource string, wrote provider) bool {
	if e == nil {
		return wrote.kind == ""
	}
	if wrote.kind == "" {
		wrote.kind = identityKind
	}
	for _, p := range e.of(groupResource) {
		if p.prefix == wrote.prefix {
			return p.equal(wrote)
		}
	}
	return false
}

// equal tells whether both configurations read and write every value alike.
func (e *Encryption) equal(other *Encryption) bool {
	if e == nil || other == nil {
		return e == other
	}
	return e.covers(other) && other.covers(e)
}

// covers tells whether other treats every resource that e names as e does.
func (e *Encryption) covers(other *Encryption) bool {
	for resource, providers := range e.providers {
		if !slices.EqualFunc(providers, other.of(resource), provider.equal) {
			return false
		}
	}
	return true
}

func noConfiguration(etcdKey string, stored []byte) error {
	return &remedy.Error{
		Op:     "decrypt " + etcdKey,
		Err:    fmt.Errorf("%w: the value is encrypted with %s, and no EncryptionConfiguration was given", ErrNoKey, keyLabel(stored)),
		Remedy: "name the cluster's EncryptionConfiguration as encryption in the config (--encryption-provider-config on a control plane node)",
		Code:   remedy.Auth,
	}
}
