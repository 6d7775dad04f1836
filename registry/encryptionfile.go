package registry

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/remedy"
	apiserver "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"
)

// ParseEncryption reads an EncryptionConfiguration (apiserver.config.k8s.io/v1)
// as strictly as an API server does: what it refuses is refused here, so that
// both read the same file the same way.
//
// A kms provider is recognised by its name, and its values can only be copied
// as they are; where its plugin listens does not matter here and is not checked.
func ParseEncryption(file []byte) (*Encryption, error) {
	e, err := parseEncryption(file)
	if err != nil {
		return nil, &remedy.Error{
			Op:     "read the EncryptionConfiguration",
			Err:    err,
			Remedy: "give the file that kube-apiserver is started with (--encryption-provider-config)",
			Code:   remedy.Usage,
		}
	}
	return e, nil
}

func parseEncryption(file []byte) (*Encryption, error) {
	var config apiserver.EncryptionConfiguration
	if err := yaml.UnmarshalStrict(file, &config); err != nil {
		return nil, err
	}
	if config.APIVersion != "apiserver.config.k8s.io/v1" || config.Kind != "EncryptionConfiguration" {
		return nil, fmt.Errorf("apiVersion %q, kind %q; want apiserver.config.k8s.io/v1, EncryptionConfiguration", config.APIVersion, config.Kind)
	}
	if len(config.Resources) == 0 {
		return nil, fmt.Errorf("resources is empty")
	}
	e := &Encryption{providers: map[string][]provider{}}
	for i, entry := range config.Resources {
		if err := e.add(entry); err != nil {
			return nil, fmt.Errorf("resources[%d]: %w", i, err)
		}
	}
	return e, nil
}

// add takes in one entry. Entries that name the same resource add up.
func (e *Encryption) add(entry apiserver.ResourceConfiguration) error {
	if len(entry.Resources) == 0 {
		return fmt.Errorf("resources is empty")
	}
	if len(entry.Providers) == 0 {
		return fmt.Errorf("providers is empty")
	}
	if err := checkResources(entry.Resources); err != nil {
		return err
	}
	var providers []provider
	for i, p := range entry.Providers {
		parsed, err := parseProvider(p)
		if err != nil {
			return fmt.Errorf("providers[%d]: %w", i, err)
		}
		providers = append(providers, parsed...)
	}
	for _, resource := range entry.Resources {
		resource = canonical(resource)
		for _, wildcard := range []string{wildcardOf(resource), "*.*"} {
			if _, masked := e.providers[wildcard]; masked {
				return fmt.Errorf("%q is masked by %q before it", resource, wildcard)
			}
		}
		e.providers[resource] = append(e.providers[resource], providers...)
	}
	return nil
}

// canonical undoes the one other spelling that Kubernetes allows: "secrets." is "secrets".
func canonical(resource string) string {
	if resource == "*." {
		return resource
	}
	return strings.TrimSuffix(resource, ".")
}

// wildcardOf is the wildcard for all resources of a resource's group.
func wildcardOf(resource string) string {
	_, group, _ := strings.Cut(resource, ".")
	return "*." + group
}

// checkResources refuses what Kubernetes refuses
// (apis/apiserver/validation/validation_encryption.go).
func checkResources(resources []string) error {
	for i, resource := range resources {
		plural, group, _ := strings.Cut(resource, ".")
		switch {
		case strings.ToLower(resource) != resource:
			return fmt.Errorf("resource %q has capital letters", resource)
		case resource == "*":
			return fmt.Errorf(`resource "*" means nothing; use "*." for the core group or "*.*" for everything`)
		case slices.Contains([]string{"apiserveripinfo", "serviceipallocations", "servicenodeportallocations"}, resource):
			return fmt.Errorf("resource %q has no API and cannot be encrypted", resource)
		case group == "events.k8s.io":
			return fmt.Errorf("resource %q: events of all groups are stored as \"events\"", resource)
		case group == "extensions":
			return fmt.Errorf("resource %q: the group extensions is gone", resource)
		case group == "*" && plural != "*":
			return fmt.Errorf("resource %q: one resource across groups cannot be encrypted", resource)
		}
		for j, other := range resources {
			if i == j {
				continue
			}
			switch {
			case canonical(resource) == canonical(other):
				return fmt.Errorf("resource %q stands twice", resource)
			case canonical(resource) == "*.*", canonical(resource) == wildcardOf(canonical(other)):
				return fmt.Errorf("resource %q masks %q in the same list", resource, other)
			}
		}
	}
	return nil
}

// parseProvider returns one provider for each key.
func parseProvider(config apiserver.ProviderConfiguration) ([]provider, error) {
	var found [][]provider
	var err error
	take := func(kind string, keys []apiserver.Key) {
		parsed, keyErr := parseKeys(kind, keys)
		found = append(found, parsed)
		if keyErr != nil {
			err = fmt.Errorf("%s: %w", kind, keyErr)
		}
	}
	if config.AESGCM != nil {
		take(aesgcmKind, config.AESGCM.Keys)
	}
	if config.AESCBC != nil {
		take(aescbcKind, config.AESCBC.Keys)
	}
	if config.Secretbox != nil {
		take(secretboxKind, config.Secretbox.Keys)
	}
	if config.Identity != nil {
		found = append(found, identityOnly)
	}
	if config.KMS != nil {
		if config.KMS.APIVersion == "" { // Kubernetes' default
			config.KMS.APIVersion = "v1"
		}
		if config.KMS.Name == "" || config.KMS.APIVersion != "v1" && config.KMS.APIVersion != "v2" {
			err = fmt.Errorf("kms: needs a name and apiVersion v1 or v2")
		}
		found = append(found, []provider{newKMS(config.KMS.APIVersion, config.KMS.Name)})
	}
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, fmt.Errorf("names no provider; Kubernetes has aesgcm, aescbc, secretbox, identity and kms")
	case len(found) > 1:
		return nil, fmt.Errorf("names more than one provider; each needs an element of its own")
	}
	return found[0], nil
}

func parseKeys(kind string, keys []apiserver.Key) ([]provider, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("has no keys")
	}
	var providers []provider
	for i, key := range keys {
		if key.Name == "" {
			return nil, fmt.Errorf("keys[%d] has no name", i)
		}
		secret, err := base64.StdEncoding.DecodeString(key.Secret)
		if err != nil {
			return nil, fmt.Errorf("the secret of key %q is not base64", key.Name)
		}
		p, err := newProvider(kind, key.Name, secret)
		if err != nil {
			return nil, err
		}
		providers = append(providers, p)
	}
	return providers, nil
}
