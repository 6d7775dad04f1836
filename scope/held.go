package scope

import (
	"crypto/sha256"
	"strings"
)

// HeldPrefix is the directory of the originals of held objects: that of the
// object at KEY is kept at HeldPrefix + KEY.
const HeldPrefix = ownPrefix + "held"

// HeldKey is where the original of a held object is kept.
func HeldKey(key string) string { return HeldPrefix + key }

// Records are the originals of held objects that the standby keeps: a digest
// of each object by its key.
type Records map[string][sha256.Size]byte

// Add takes in a stored record. One that cannot be read fits no object.
func (r Records) Add(v *View, heldKey string, stored []byte) {
	key := strings.TrimPrefix(heldKey, HeldPrefix)
	object, err := v.InStandby(key, stored)
	if err != nil {
		r[key] = [sha256.Size]byte{}
		return
	}
	r[key] = sha256.Sum256(object.Plain)
}

// Fit reports whether the record for key is as the primary's object demands:
// its original where it is held, and none where it is not.
func (r Records) Fit(key string, primary Object) bool {
	kept, ok := r[key]
	if primary.Original == nil {
		return !ok
	}
	return ok && kept == sha256.Sum256(primary.Original)
}
