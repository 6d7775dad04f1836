package console

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

func judgeCIDR(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "service CIDRs", bothKubeconfigs, func(s PreflightSide) Found[[]string] { return s.CIDRs })
	if missing != nil {
		return missing
	}
	if len(p) == 0 && len(s) == 0 {
		return unchecked("compare --service-cluster-ip-range by hand", "service CIDRs", "neither side says")
	}
	if slices.EqualFunc(p, s, func(a, b string) bool { return oneSpelling(a) == oneSpelling(b) }) {
		return checked(CheckOK, "", "both sides have the service CIDR %s", strings.Join(p, ", "))
	}
	return checked(CheckFail, "Services keep their ClusterIPs: give both sides the same --service-cluster-ip-range", "service CIDRs differ: %s on %s, %s on %s",
		strings.Join(p, ", "), f.Primary.Name, strings.Join(s, ", "), f.Standby.Name)
}

func judgeClusterIPs(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "ClusterIP collisions", bothKubeconfigs, func(s PreflightSide) Found[map[string]ServiceFacts] { return s.ClusterIPs })
	if missing != nil {
		return missing
	}
	taken := map[string]string{}
	for name, service := range s {
		for _, ip := range service.IPs {
			taken[oneSpelling(ip)] = name
		}
	}
	var ranges []netip.Prefix
	for _, cidr := range f.Standby.CIDRs.Value {
		if r, err := netip.ParsePrefix(cidr); err == nil {
			ranges = append(ranges, r)
		}
	}
	var collisions, outside []string
	looked := 0
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if !p[name].InScope {
			continue
		}
		looked++
		for _, ip := range p[name].IPs {
			if other, is := taken[oneSpelling(ip)]; is && other != name {
				collisions = append(collisions, fmt.Sprintf("%s of %s is %s's on %s", ip, name, other, f.Standby.Name))
			}
			if addr, err := netip.ParseAddr(ip); err == nil && len(ranges) > 0 && !slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(addr) }) {
				outside = append(outside, ip+" of "+name)
			}
		}
	}
	var lines []PreflightLine
	if len(collisions) > 0 {
		lines = append(lines, checked(CheckFail, "give the standby's Services other addresses, by creating them anew", "%d ClusterIPs collide: %s", len(collisions), some(collisions))...)
	}
	if len(outside) > 0 {
		lines = append(lines, checked(CheckFail, "give both sides the same --service-cluster-ip-range", "%d ClusterIPs lie outside %s's service CIDR: %s", len(outside), f.Standby.Name, some(outside))...)
	}
	if lines == nil {
		return checked(CheckOK, "", "the ClusterIPs of %d Services in scope are free on %s, or theirs already", looked, f.Standby.Name)
	}
	return lines
}

func judgeAddress(f PreflightFacts) []PreflightLine {
	own := judgeAddresses(f)
	switch {
	case f.Address == "" && own != nil: // both sides serve, each under its own name
		return own
	case f.Address == "":
		return unchecked("set access.address", "the access address", "access.address is not set")
	}
	return append(judgePairAddress(f), own...)
}

func judgePairAddress(f PreflightFacts) []PreflightLine {
	switch {
	case f.AskedFor == "" && strings.HasPrefix(f.Address, "*."):
		return unchecked("name one: access.names", "where "+f.Address+" leads", "no name below it is known")
	case net.ParseIP(f.Address) != nil:
		return checked(CheckFail, "clients need a domain name, which can lead to either side", "the access address %s is an IP address", f.Address)
	case !f.Resolved.Known:
		return checked(CheckWarn, "enter it in the DNS that clients use", "the access address %s has no address from here: %s", f.Address, orUnknown(f.Resolved.Why))
	case f.Primary.VIP == "":
		return unchecked("set primary.vip", "where "+f.Address+" leads", "primary.vip is not set")
	case net.ParseIP(f.Primary.VIP) == nil:
		return unchecked("give the VIP as an IP address", "where "+f.Address+" leads", "primary.vip is a name")
	}
	leads := slices.ContainsFunc(f.Resolved.Value, func(address string) bool { return sameHost(address, f.Primary.VIP) })
	var others, unknown []string
	for _, address := range f.Resolved.Value {
		switch {
		case sameHost(address, f.Primary.VIP):
		case strings.Contains(address, ":") == strings.Contains(f.Primary.VIP, ":"), sameHost(address, f.Standby.VIP):
			others = append(others, address)
		default: // of the other family, of which the primary may have a VIP as well
			unknown = append(unknown, address)
		}
	}
	switch {
	case leads && len(others) == 0:
		lines := checked(CheckOK, "", "%s is a domain and leads to %s's VIP", f.Address, f.Primary.Name)
		if len(unknown) > 0 {
			lines = append(lines, unchecked("see that it is the primary's: "+strings.Join(unknown, ", "), "where "+strings.Join(unknown, ", ")+" leads",
				f.Address+" has it too, and primary.vip is of the other family")...)
		}
		return lines
	case leads:
		return checked(CheckWarn, "let the name lead to the primary's VIP alone: some clients take the other address", "%s leads to %s as well as to %s's VIP",
			f.Address, strings.Join(others, ", "), f.Primary.Name)
	}
	return checked(CheckWarn, "let the name lead to the primary's VIP "+f.Primary.VIP, "%s leads to %s, not to %s's VIP", f.Address, strings.Join(f.Resolved.Value, ", "), f.Primary.Name)
}

// Covers reports whether a name, which may be *.example.com, stands for a host.
func Covers(name, host string) bool {
	if below, wild := strings.CutPrefix(name, "*."); wild {
		label, rest, ok := strings.Cut(host, ".")
		return ok && label != "" && sameHost(rest, below)
	}
	return sameHost(host, name)
}

// sameHost compares names and addresses however they are written.
func sameHost(a, b string) bool {
	a, b = strings.Trim(a, "[]"), strings.Trim(b, "[]")
	if ip := net.ParseIP(a); ip != nil {
		return ip.Equal(net.ParseIP(b))
	}
	return a != "" && strings.EqualFold(a, b)
}

// inURL is a host as it stands in a URL: an IPv6 address has brackets there.
func inURL(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		return "[" + host + "]"
	}
	return host
}

// oneSpelling is an address or a range in the one way in which it may be compared:
// IPv6 has many.
func oneSpelling(text string) string {
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.String()
	}
	if r, err := netip.ParsePrefix(text); err == nil {
		return r.String()
	}
	return text
}

func judgeEndpoint(f PreflightFacts) (lines []PreflightLine) {
	if sameHost(f.Primary.VIP, f.Standby.VIP) {
		lines = append(lines, checked(CheckFail, "correct vip of one side", "both sides have the VIP %s", f.Primary.VIP)...)
	}
	proven := func(s PreflightSide) bool { return s.OwnAPI.Known && s.OwnAPI.Value == "" } // behind one proxy they differ by their paths
	if sameHost(f.Primary.APIAddress, f.Standby.APIAddress) && (!proven(f.Primary) || !proven(f.Standby)) {
		lines = append(lines, checked(CheckFail, "correct kubeconfig of one side", "both kubeconfigs lead to %s", f.Primary.APIAddress)...)
	}
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		host, _, err := net.SplitHostPort(side.APIAddress)
		if err != nil {
			host = side.APIAddress
		}
		what := "the API endpoint of " + side.Name
		switch {
		case host == "":
			lines = append(lines, unchecked(bothKubeconfigs, what, "no kubeconfig")...)
		case Covers(f.Address, host):
			lines = append(lines, checked(CheckFail, "use the side's own VIP: the name leads to the other side after a switchover", "%s is the access address %s", what, host)...)
		case side.VIP == "":
			lines = append(lines, unchecked("set vip of this side", what+", "+host, "vip is not set")...)
		case sameHost(host, side.VIP):
			lines = append(lines, checked(CheckOK, "", "%s is its VIP %s", what, host)...)
		default:
			lines = append(lines, checked(CheckWarn, "lead the kubeconfig to the VIP, so that the loss of a node is survived", "%s is %s, not its VIP %s", what, host, side.VIP)...)
		}
	}
	return lines
}

func judgePorts(f PreflightFacts) (lines []PreflightLine) {
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		if side.VIP == "" || len(side.Ports) == 0 {
			lines = append(lines, unchecked("set vip of this side", "ports of "+side.Name, "vip is not set")...)
			continue
		}
		var open, closed []string
		for _, port := range slices.Sorted(maps.Keys(side.Ports)) {
			if found := side.Ports[port]; found.Known && found.Value {
				open = append(open, fmt.Sprint(port))
			} else {
				closed = append(closed, fmt.Sprintf("%d (%s)", port, orUnknown(found.Why)))
			}
		}
		if len(closed) > 0 {
			lines = append(lines, checked(CheckFail, "let the load balancer pass them on to the control plane nodes as TCP", "%s at %s does not take ports %s", side.Name, side.VIP, strings.Join(closed, ", "))...)
		} else {
			lines = append(lines, checked(CheckOK, "", "%s at %s takes ports %s", side.Name, side.VIP, strings.Join(open, ", "))...)
		}
	}
	return lines
}

func judgeCertificate(f PreflightFacts) []PreflightLine {
	p, s, missing := both(f, "the ingress certificate", "set access.address and vip of both sides", func(s PreflightSide) Found[CertificateFacts] { return s.Certificate })
	if missing != nil {
		return missing
	}
	var lines []PreflightLine
	if p.Digest != s.Digest && f.Address != "" {
		lines = append(lines, checked(CheckFail, "install one certificate on both sides", "%s and %s show different certificates for %s", f.Primary.Name, f.Standby.Name, f.Address)...)
	}
	for _, side := range []struct {
		name string
		c    CertificateFacts
	}{{f.Primary.Name, p}, {f.Standby.Name, s}} {
		left := side.c.NotAfter.Sub(f.Now)
		switch {
		case left <= 0:
			lines = append(lines, checked(CheckFail, "renew it", "%s: the certificate or its intermediate has expired, %s ago", side.name, age(left))...)
		case f.Now.Before(side.c.NotBefore):
			lines = append(lines, checked(CheckFail, "set the clock, or wait", "%s: the certificate is valid from %s on only", side.name, side.c.NotBefore.Format(time.RFC3339))...)
		case left < expiresSoon:
			lines = append(lines, checked(CheckWarn, "renew it", "%s: the certificate or its intermediate expires in %s", side.name, age(left))...)
		}
		if len(side.c.Uncovered) > 0 {
			lines = append(lines, checked(CheckFail, "issue one that covers all names", "%s: the certificate does not cover %s", side.name, strings.Join(side.c.Uncovered, ", "))...)
		}
		if side.c.Untrusted != "" {
			lines = append(lines, checked(CheckWarn, "fine where clients have the authority installed", "%s: this machine does not trust the certificate: %s", side.name, side.c.Untrusted)...)
		}
	}
	if lines == nil && f.Address == "" {
		return checked(CheckOK, "", "each side shows a certificate for its own name")
	}
	if lines == nil {
		return checked(CheckOK, "", "both sides show the same certificate, valid until %s, for %s", p.NotAfter.Format("2006-01-02"), strings.Join(append([]string{f.Address}, f.Names...), ", "))
	}
	return lines
}
