package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// checkHosts takes a host, or all below a domain: *.apps.example.com.
func checkHosts(s string) error {
	host, wild := strings.CutPrefix(s, "*.")
	if err := checkHost(host); err != nil || strings.Contains(host, "*") || wild && net.ParseIP(host) != nil {
		return fmt.Errorf("%q is not a host name, an IP address or a wildcard such as *.apps.example.com; write neither https:// nor a port", s)
	}
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(strings.NewReplacer("{vip}", "vip", "{name}", "name").Replace(s))
	switch {
	case err == nil && u.User != nil:
		return errors.New("a URL with a user in it; let exec call what reads the password")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%q is not a URL; such as https://{vip}/healthz", s)
	}
	return nil
}

func checkRegexp(s string) error {
	if _, err := regexp.Compile(s); err != nil {
		return fmt.Errorf("%q is not a regular expression: %w", s, err)
	}
	return nil
}

func (d *decoder) checkAccess(p *Pair) {
	a := p.Access
	if (a.Addresses.Primary == "") != (a.Addresses.Standby == "") && !d.reported("access.addresses") {
		d.problem(d.lines["access.addresses"], "access.addresses needs both primary and standby")
	}
	names := map[string]bool{}
	for i, c := range a.Checks {
		at := fmt.Sprintf("access.checks[%d]", i)
		if d.reported(at) {
			continue
		}
		line := d.lines[at]
		given := func(field string) bool { return d.lines[at+"."+field] > 0 }
		switch {
		case (len(c.Exec) == 0) == (c.HTTP == ""):
			d.problem(line, "%s needs either exec or http", at)
		case c.HTTP != "" && given("exitCode"):
			d.problem(line, "%s.exitCode belongs to exec; an HTTP check has status", at)
		case len(c.Exec) > 0 && given("status"):
			d.problem(line, "%s.status belongs to http; a command has exitCode", at)
		case names[c.Name]:
			d.problem(line, "%s is called %q like another; give each check its own name", at, c.Name)
		}
		names[c.Name] = true
	}
}
