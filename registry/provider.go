package registry

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
	"k8s.io/apiserver/pkg/storage/value/encrypt/secretbox"
)

// The providers of an EncryptionConfiguration.
const (
	identityKind  = "identity"
	aescbcKind    = "aescbc"
	aesgcmKind    = "aesgcm"
	secretboxKind = "secretbox"
	kmsKind       = "kms"
)

// provider is one way to encrypt: one key of one provider of the
// configuration. Kubernetes nests keys in providers and tries, in order, all
// whose prefix fits (value.NewPrefixTransformers), which is the same as trying
// a flat list whose prefixes are whole.
type provider struct {
	kind   string
	prefix string // of the values it wrote: "k8s:enc:aescbc:v1:key1:"; "" for identity
	secret [sha256.Size]byte
	// transformer is nil for identity, which changes nothing, and for kms,
	// whose key is not in the file.
	transformer value.Transformer
}

func newProvider(kind, keyName string, secret []byte) (provider, error) {
	p := provider{
		kind:   kind,
		prefix: fmt.Sprintf("%s%s:v1:%s:", encryptedPrefix, kind, keyName),
		secret: sha256.Sum256(secret),
	}
	if kind == secretboxKind {
		if len(secret) != 32 {
			return p, fmt.Errorf("the secret of key %q has %d bytes; secretbox takes 32", keyName, len(secret))
		}
		p.transformer = secretbox.NewSecretboxTransformer([32]byte(secret))
		return p, nil
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return p, fmt.Errorf("the secret of key %q has %d bytes; AES takes 16, 24 or 32", keyName, len(secret))
	}
	if kind == aescbcKind {
		p.transformer = aestransformer.NewCBCTransformer(block)
		return p, nil
	}
	p.transformer, err = aestransformer.NewGCMTransformer(block)
	return p, err
}

// newKMS is a provider that this package can only recognise.
func newKMS(apiVersion, name string) provider {
	return provider{kind: kmsKind, prefix: fmt.Sprintf("%skms:%s:%s:", encryptedPrefix, apiVersion, name)}
}

// equal tells whether both read and write alike. Two kms providers of one name
// count as equal: whether the plugins behind them share a key, no file says.
func (p provider) equal(other provider) bool {
	return p.kind == other.kind && p.prefix == other.prefix && p.secret == other.secret
}

// wrote tells whether an encrypted value bears this provider's prefix.
func (p provider) wrote(stored []byte) bool {
	return p.prefix != "" && bytes.HasPrefix(stored, []byte(p.prefix))
}

// open decrypts a value that bears the provider's prefix.
func (p provider) open(etcdKey string, stored []byte) ([]byte, error) {
	if p.transformer == nil {
		return nil, fmt.Errorf("%w: %s keeps it outside the cluster", ErrNoKey, keyLabel(stored))
	}
	body := stored[len(p.prefix):]
	// The transformer panics on an IV with nothing behind it.
	if p.kind == aescbcKind && len(body) < 2*aes.BlockSize {
		return nil, fmt.Errorf("%w: %d bytes behind %s are too few", ErrWrongKey, len(body), p.prefix)
	}
	plain, _, err := p.transformer.TransformFromStorage(context.Background(), body, value.DefaultContext(etcdKey))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrWrongKey, keyLabel(stored), p.explain(err))
	}
	if p.kind == aescbcKind && !isWhole(plain) {
		return nil, fmt.Errorf("%w: %s: the padding fits by chance, but what comes out is no object", ErrWrongKey, keyLabel(stored))
	}
	return plain, nil
}

// explain replaces the words of Kubernetes' secretbox, which blames a buffer
// for what is a wrong key or a damaged value.
func (p provider) explain(err error) string {
	if p.kind == secretboxKind && strings.Contains(err.Error(), "output array") {
		return "message authentication failed"
	}
	return err.Error()
}

// seal encrypts.
func (p provider) seal(etcdKey string, plain []byte) ([]byte, error) {
	switch p.kind {
	case identityKind:
		return plain, nil
	case kmsKind:
		return nil, fmt.Errorf("%w: %s keeps it outside the cluster", ErrNoKey, keyLabel([]byte(p.prefix)))
	}
	body, err := p.transformer.TransformToStorage(context.Background(), plain, value.DefaultContext(etcdKey))
	if err != nil {
		return nil, err
	}
	return append([]byte(p.prefix), body...), nil
}

// isWhole tells an object from random bytes: those begin with protobuf's magic
// once in 2^32 values, with CBOR's once in 2^24, with "{" once in 256, so JSON
// must be valid as well.
func isWhole(plain []byte) bool {
	return looksLikeObject(plain) && (!isJSON(plain) || validJSON(plain))
}

// SealedWith is how an encrypted value begins, "k8s:enc:aescbc:v1:key1:", which
// names the provider and the key that wrote it; "" for a value that is not
// encrypted or does not name them.
func SealedWith(stored []byte) string {
	if !bytes.HasPrefix(stored, encryptedPrefix) {
		return ""
	}
	parts := strings.SplitAfterN(string(stored[len(encryptedPrefix):min(len(stored), 512)]), ":", 4)
	if len(parts) < 4 {
		return ""
	}
	return string(encryptedPrefix) + strings.Join(parts[:3], "")
}

// keyLabel names provider and key of an encrypted value for people:
// `aescbc key "key1"`.
func keyLabel(stored []byte) string {
	parts := strings.SplitN(string(stored[len(encryptedPrefix):min(len(stored), 512)]), ":", 4)
	if len(parts) < 4 {
		return "a provider that it does not name"
	}
	if !slices.Contains([]string{aescbcKind, aesgcmKind, secretboxKind, kmsKind}, parts[0]) {
		return fmt.Sprintf("the unknown provider %.20q", parts[0])
	}
	return fmt.Sprintf("%s key %q", parts[0], parts[2])
}
