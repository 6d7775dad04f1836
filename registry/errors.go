package registry

import "errors"

// What errors.Is finds in the errors of this package.
var (
	// ErrUndecodable: the value is no whole Kubernetes object.
	ErrUndecodable = errors.New("not a whole Kubernetes object")
	// ErrEncrypted: the value is encrypted at rest, so there is no reading it as it is.
	ErrEncrypted = errors.New("encrypted at rest")
	// ErrWrongKey: a key of that provider and name is configured, and it does
	// not decrypt the value. The secret is another one, or the value is damaged.
	ErrWrongKey = errors.New("the encryption key does not fit")
	// ErrNoKey: the value is encrypted with a key that the configuration does
	// not have, or there is no configuration where one is needed.
	ErrNoKey = errors.New("no such encryption key")
)
