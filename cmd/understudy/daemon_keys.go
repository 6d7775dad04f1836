package main

import (
	"bytes"
	"os"

	"github.com/understudy-dr/understudy/config"
)

// keyFiles are the EncryptionConfigurations as the daemon has read them.
type keyFiles map[string][]byte // by their path

func newKeyFiles(pair *config.Pair) keyFiles {
	files := keyFiles{}
	for _, file := range []string{pair.Primary.Encryption, pair.Standby.Encryption} {
		if file != "" {
			files[file], _ = os.ReadFile(file) // the view has said what is wrong with it
		}
	}
	return files
}

// changed lists those that say something else by now: the daemon goes on with
// keys that an API server may not know any more.
func (k keyFiles) changed() []string {
	var out []string
	for file, was := range k {
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, was) {
			out = append(out, file)
		}
	}
	return out
}
