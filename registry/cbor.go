package registry

import (
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// cborObject is the part of an object that ReadMeta wants, with the names that
// Kubernetes' CBOR shares with its JSON.
type cborObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Type       any    `json:"type"` // a string in a Secret; elsewhere it may be anything
	Metadata   struct {
		Name              string   `json:"name"`
		Namespace         string   `json:"namespace"`
		UID               string   `json:"uid"`
		DeletionTimestamp *string  `json:"deletionTimestamp"`
		Finalizers        []string `json:"finalizers"`
		OwnerReferences   []struct {
			APIVersion         string `json:"apiVersion"`
			Kind               string `json:"kind"`
			Name               string `json:"name"`
			UID                string `json:"uid"`
			Controller         bool   `json:"controller"`
			BlockOwnerDeletion bool   `json:"blockOwnerDeletion"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
}

// cborDialect reads what apimachinery's serializer/cbor/internal/modes writes:
// strings are byte strings, keys among them. Unlike Kubernetes' own strict
// mode it overlooks fields that it was not asked for.
var cborDialect = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:             cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:       10_000,
		MaxArrayElements:      2_147_483_647,
		MaxMapPairs:           2_097_152,
		DefaultByteStringType: reflect.TypeFor[string](),
		ByteStringToString:    cbor.ByteStringToStringAllowedWithExpectedLaterEncoding,
		FieldNameByteString:   cbor.FieldNameByteStringAllowed,
		FieldNameMatching:     cbor.FieldNameMatchingCaseSensitive,
	}.DecMode()
	if err != nil {
		panic(err) // the options above are constant
	}
	return mode
}()

// readCBOR reads self-described CBOR in the dialect of Kubernetes.
func readCBOR(value []byte) (Meta, error) {
	var o cborObject
	if err := cborDialect.Unmarshal(value, &o); err != nil {
		return Meta{}, fmt.Errorf("%w: CBOR broken: %w", ErrUndecodable, err)
	}
	if o.Kind == "" {
		return Meta{}, fmt.Errorf("%w: CBOR without a kind", ErrUndecodable)
	}
	m := Meta{
		APIVersion: o.APIVersion,
		Kind:       o.Kind,
		Namespace:  o.Metadata.Namespace,
		Name:       o.Metadata.Name,
		UID:        o.Metadata.UID,
		Finalizers: o.Metadata.Finalizers,
		Deleting:   o.Metadata.DeletionTimestamp != nil,
		Encoding:   CBOR,
	}
	for _, r := range o.Metadata.OwnerReferences {
		m.Owners = append(m.Owners, Owner(r))
	}
	if m.isSecret() {
		m.Type, _ = o.Type.(string)
	}
	return m, nil
}
