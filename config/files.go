package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/understudy-dr/understudy/remedy"
)

// WrongFiles returns a *Problems that names each file of the configuration that cannot
// be read, or is not what it should be, or nil: certificates are parsed and
// matched with their keys and with now. What a kubeconfig or an
// EncryptionConfiguration says is for those who understand it.
func (p *Pair) WrongFiles(now time.Time) error {
	var list []Problem
	problem := func(path, file string, err error) {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		list = append(list, Problem{p.origin.lines[path], fmt.Sprintf("%s: %s: %v", path, file, err)})
	}
	contents := map[string][]byte{} // by field
	for _, f := range p.files() {
		if *f.value == "" {
			continue
		}
		data, err := os.ReadFile(*f.value)
		if err != nil {
			problem(f.path, *f.value, err)
			continue
		}
		contents[f.path] = data
	}
	for name, e := range map[string]Etcd{"primary": p.Primary.Etcd, "standby": p.Standby.Etcd} {
		at := name + ".etcd."
		if data, there := contents[at+"ca"]; there {
			if err := checkCertificates(data, now); err != nil {
				problem(at+"ca", e.CA, err)
			}
		}
		if cert, there := contents[at+"cert"]; there {
			if err := checkCertificates(cert, now); err != nil {
				problem(at+"cert", e.Cert, err)
			} else if key, there := contents[at+"key"]; there {
				if _, err := tls.X509KeyPair(cert, key); err != nil {
					problem(at+"key", e.Key, fmt.Errorf("it is not the key of %s: %w", e.Cert, err))
				}
			}
		}
		if data, there := contents[at+"passwordFile"]; there && len(bytes.TrimRight(data, "\r\n")) == 0 {
			problem(at+"passwordFile", e.PasswordFile, errors.New("it is empty"))
		}
	}
	if data, there := contents["access.ca"]; there {
		if err := checkCertificates(data, now); err != nil {
			problem("access.ca", p.Access.CA, err)
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b Problem) int { return a.Line - b.Line })
	return &remedy.Error{
		Err:    &Problems{File: p.origin.file, List: list},
		Remedy: "put the files right, or name others; paths are relative to the directory of the configuration file",
		Code:   remedy.Usage,
	}
}

// checkCertificates reads a PEM file. Of several certificates, as in a rotation, one
// that is valid now is enough.
func checkCertificates(data []byte, now time.Time) error {
	var wrong error
	valid, any := false, false
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		any = true
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return err
		case now.After(cert.NotAfter):
			wrong = fmt.Errorf("it has expired at %s", cert.NotAfter.UTC().Format(time.RFC3339))
		case now.Before(cert.NotBefore):
			wrong = fmt.Errorf("it is not valid before %s", cert.NotBefore.UTC().Format(time.RFC3339))
		default:
			valid = true
		}
	}
	switch {
	case !any:
		return errors.New("there is no whole certificate in it")
	case !valid:
		return wrong
	}
	return nil
}
