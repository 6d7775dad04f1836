package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// formats are the checks that a field's format tag names.
var formats = map[string]func(string) error{
	"name":     checkName,
	"address":  checkAddress,
	"endpoint": checkEndpoint,
	"prefix":   checkPrefix,
	"glob":     checkGlob,
	"path":     checkPath,
	"nonempty": checkNonEmpty,
	"host":     checkHost,
	"hosts":    checkHosts,
	"url":      checkURL,
	"regexp":   checkRegexp,
	"object":   checkObject,
	"seconds":  checkSeconds,
	"label":    checkLabel,
	"pointer":  checkPointer,
}

// A name ends up in metrics, logs and things to type, so it is a DNS label
// with dots allowed.
var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$`)

func checkName(s string) error {
	if !namePattern.MatchString(s) {
		return fmt.Errorf("%q is not a name; use up to 63 of a-z, 0-9, - and . with a letter or digit at both ends", s)
	}
	return nil
}

func checkAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		err = checkPort(port)
	}
	if err != nil {
		return fmt.Errorf("%q is not host:port; such as 127.0.0.1:8642, or :8642 for every interface", s)
	}
	return nil
}

func checkPort(port string) error {
	_, err := strconv.ParseUint(port, 10, 16)
	return err
}

func checkEndpoint(s string) error {
	u, err := url.Parse(s)
	switch {
	case strings.Contains(s, "@"): // never say it: there may be a password in it
		return errors.New("a URL with a user in it; use username and passwordFile")
	case err != nil || !strings.Contains(s, "://"):
		return fmt.Errorf("%q is not a URL; such as https://10.0.0.1:2379", s)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q begins with %s://; it may be https:// or http://", s, u.Scheme)
	case !strings.HasPrefix(s, u.Scheme): // etcd's client does not know other letters
		return fmt.Errorf("%q: write %s:// in small letters", s, u.Scheme)
	case u.Hostname() == "" || u.Port() == "" || checkPort(u.Port()) != nil:
		return fmt.Errorf("%q has no host and port; such as https://10.0.0.1:2379", s)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q has something after the port", s)
	}
	return nil
}

func checkPrefix(s string) error {
	if !strings.HasPrefix(s, "/") || !strings.HasSuffix(s, "/") {
		return fmt.Errorf("%q must begin and end with a slash, such as /registry/", s)
	}
	if strings.HasPrefix("/understudy/", s) && s != "/" || strings.HasPrefix(s, "/understudy/") {
		return fmt.Errorf("%q is where understudy keeps its own state", s)
	}
	return nil
}

func checkGlob(s string) error {
	if s == "" {
		return errors.New("an empty pattern matches nothing; leave it out")
	}
	if _, err := path.Match(s, ""); err != nil {
		return fmt.Errorf("%q is not a pattern; it may have *, ? and [a-z], and a \\ before a literal one", s)
	}
	return nil
}

func checkPath(s string) error {
	if strings.ContainsRune(s, 0) {
		return errors.New("a path cannot have a zero byte")
	}
	return nil
}

func checkNonEmpty(s string) error {
	if s == "" {
		return errors.New("is empty; leave it out")
	}
	return nil
}

func checkHost(s string) error {
	if s == "" || strings.ContainsAny(s, "/@ ") || strings.Contains(s, ":") && net.ParseIP(s) == nil {
		return fmt.Errorf("%q is not a host name or IP address; write neither https:// nor a port, nor brackets", s)
	}
	return nil
}

var labelPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func checkLabel(s string) error {
	if !labelPattern.MatchString(s) {
		return fmt.Errorf("%q is not the name of a namespace", s)
	}
	return nil
}

func checkObject(s string) error {
	if namespace, name, ok := strings.Cut(s, "/"); !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%q is not namespace/name", s)
	}
	return nil
}

func checkPointer(s string) error {
	if !strings.HasPrefix(s, "/") || s == "/" {
		return fmt.Errorf("%q is no JSON pointer to a field; such as /status or /metadata/annotations/a.example.com~1b", s)
	}
	return nil
}

func checkSeconds(s string) error {
	if d, err := time.ParseDuration(s); err == nil && d%time.Second != 0 {
		return fmt.Errorf("%s is not a whole number of seconds, as etcd's leases need", s)
	}
	return nil
}

// check looks at what several fields say together. Fields that were wrong by
// themselves are empty here and already reported.
func (d *decoder) check(p *Pair) {
	line := func(field string) int {
		for ; field != ""; field = field[:max(strings.LastIndexAny(field, ".["), 0)] {
			if n := d.lines[field]; n > 0 {
				return n
			}
		}
		return d.lines[""]
	}
	if p.Primary.Name != "" && p.Primary.Name == p.Standby.Name {
		d.problem(line("standby.name"), "standby.name is %q like primary.name; the two clusters need different names", p.Standby.Name)
	}
	for _, side := range []struct {
		path string
		etcd Etcd
	}{{"primary.etcd", p.Primary.Etcd}, {"standby.etcd", p.Standby.Etcd}} {
		e := side.etcd
		report := func(field, format string, args ...any) {
			d.problem(line(side.path+"."+field), side.path+"."+format, args...)
		}
		together := func(a, aValue, b, bValue string) {
			if aValue != "" && bValue == "" && d.lines[side.path+"."+b] == 0 {
				report(a, "%s is given without %s; both are needed", a, b)
			}
		}
		together("cert", e.Cert, "key", e.Key)
		together("key", e.Key, "cert", e.Cert)
		together("username", e.Username, "passwordFile", e.PasswordFile)
		together("passwordFile", e.PasswordFile, "username", e.Username)
		plain := 0
		for _, u := range e.Endpoints {
			if strings.HasPrefix(strings.ToLower(u), "http:") {
				plain++
			}
		}
		switch {
		case plain > 0 && plain < len(e.Endpoints):
			report("endpoints", "endpoints mixes http:// and https://; use one of them")
		case plain > 0 && (e.CA != "" || e.Cert != "" || e.ServerName != ""):
			report("endpoints", "endpoints are http:// but ca, cert or serverName is given; use https://")
		}
	}
	d.checkPrefixes(&p.Sync)
	d.checkAccess(p)
	d.checkWorkloads(p)
	d.checkRules("sync.exclude", p.Sync.Exclude)
	d.checkRules("sync.include", p.Sync.Include)
	d.checkRules("sync.replace", p.Sync.Replace)
}

// checkPrefixes makes prefix the first of prefixes.
func (d *decoder) checkPrefixes(s *Sync) {
	const at = "sync.prefixes"
	if len(s.Prefixes) == 0 || d.reported(at) || d.reported("sync.prefix") {
		return
	}
	if line := d.lines["sync.prefix"]; line > 0 && s.Prefix != s.Prefixes[0] {
		d.problem(line, "sync.prefix is %q, and %s begins with %q; give one of the two", s.Prefix, at, s.Prefixes[0])
	}
	for i, prefix := range s.Prefixes {
		line := d.lines[fmt.Sprintf("%s[%d]", at, i)]
		switch {
		case prefix == "/" && len(s.Prefixes) > 1:
			d.problem(line, "%s[%d] is \"/\", which is every key; it stands alone or not at all", at, i)
		case slices.Contains(s.Prefixes[:i], prefix):
			d.problem(line, "%s[%d] is %q once more", at, i, prefix)
		}
	}
	s.Prefix = s.Prefixes[0]
}

func (d *decoder) checkWorkloads(p *Pair) {
	for i, w := range p.Hold.Workloads {
		at := fmt.Sprintf("hold.workloads[%d]", i)
		if d.reported(at) {
			continue
		}
		switch {
		case (w.Name == "") == (w.Selector == ""):
			d.problem(d.lines[at], "%s needs either name or selector", at)
		case w.Selector != "" && strings.TrimSpace(w.Selector) == "":
			d.problem(d.lines[at], "%s.selector is empty, which is every Deployment of the namespace; say which are meant", at)
		}
	}
	if len(p.Hold.Workloads) > 0 && p.Standby.Kubeconfig == "" && !d.reported("standby.kubeconfig") {
		d.problem(d.lines["hold.workloads"], "hold.workloads needs standby.kubeconfig: they are kept at zero through the standby's API server")
	}
}

// reported reports whether something is said already about what stands at a path.
func (d *decoder) reported(at string) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool { return strings.Contains(p.Text, at) })
}

func (d *decoder) checkRules(path string, rules []Rule) {
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d]", path, i)
		if d.reported(at) {
			continue
		}
		if len(r.Namespaces)+len(r.Resources)+len(r.Names)+len(r.Keys)+len(r.Types) == 0 {
			d.problem(d.lines[at], "%s is empty and would match every key; give namespaces, resources, names, keys or types", at)
		}
	}
}
