package demo

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The two sides encrypt Secrets with other providers and other keys, as two
// clusters that were set up separately do.
const (
	PrimaryProvider = "aescbc"
	StandbyProvider = "secretbox"
)

const encryptionFile = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - %s:
      keys:
      - name: %s
        secret: %s
  - identity: {}
`

const configFile = `# The pair of "understudy demo".
apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata:
  name: demo
primary:
  name: moscow
  etcd: {endpoints: ["%s"]}
  encryption: moscow-encryption.yaml
standby:
  name: spb
  etcd: {endpoints: ["%s"]}
  encryption: spb-encryption.yaml
sync:
  leaseTTL: 3s
listen: %s
`

// WriteConfig writes a configuration for the pair and both sides'
// EncryptionConfigurations, with fresh keys, into dir. It returns the path of
// the configuration.
func WriteConfig(dir string, primary, standby *Etcd) (string, error) {
	file := filepath.Join(dir, "understudy.yaml")
	listen, err := freeURL()
	if err != nil {
		return "", err
	}
	config := fmt.Sprintf(configFile, primary.Endpoint, standby.Endpoint, listen.Host)
	return file, errors.Join(
		os.WriteFile(filepath.Join(dir, "moscow-encryption.yaml"), encryption(PrimaryProvider, "moscow-1"), 0o600),
		os.WriteFile(filepath.Join(dir, "spb-encryption.yaml"), encryption(StandbyProvider, "spb-1"), 0o600),
		os.WriteFile(file, []byte(config), 0o600),
	)
}

func encryption(provider, key string) []byte {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return fmt.Appendf(nil, encryptionFile, provider, key, base64.StdEncoding.EncodeToString(secret))
}
