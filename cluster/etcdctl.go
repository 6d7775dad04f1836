package cluster

import (
	"regexp"
	"strings"

	"github.com/understudy-dr/understudy/remedy"
)

// Etcdctl is the beginning of an etcdctl command for this cluster, to be pasted:
// with its endpoints, certificates and user. With endpoints given, only with
// those: what is done member by member needs one.
//
// etcdctl has no flag for serverName, and asks for the user's password itself.
func (c Config) Etcdctl(endpoints ...string) string {
	if len(endpoints) == 0 {
		endpoints = c.Endpoints
	}
	words := []string{"etcdctl", "--endpoints=" + strings.Join(endpoints, ",")}
	for _, flag := range [][2]string{{"--cacert=", c.CA}, {"--cert=", c.Cert}, {"--key=", c.Key}, {"--user=", c.Username}} {
		if flag[1] != "" {
			words = append(words, flag[0]+flag[1])
		}
	}
	for i, w := range words {
		words[i] = quoteFlag(w)
	}
	return strings.Join(words, " ")
}

// quoteFlag quotes the value of a flag, and leaves the flag readable.
func quoteFlag(word string) string {
	flag, value, ok := strings.Cut(word, "=")
	if !ok {
		return word
	}
	parts := strings.Split(value, ",") // endpoints
	for _, p := range parts {
		if remedy.Quote(p) != p {
			return flag + "=" + remedy.Quote(value)
		}
	}
	return word
}

// EtcdctlAsRoot is the same for what our own user may not do, such as to grant.
func (c *Cluster) EtcdctlAsRoot() string {
	as := c.config
	as.Username = "root"
	return as.Etcdctl()
}

// Paste makes commands to be pasted of those in a text that begin with a bare etcdctl.
func (c *Cluster) Paste(text string) string {
	return bare.ReplaceAllLiteralString(text, c.Etcdctl()+" ")
}

var bare = regexp.MustCompile(`\betcdctl `)

// Etcdctl is Config.Etcdctl of a cluster that is connected.
func (c *Cluster) Etcdctl(endpoints ...string) string { return c.config.Etcdctl(endpoints...) }
