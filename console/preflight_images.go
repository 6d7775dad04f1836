package console

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
)

// ImageFacts say whether one image can be pulled where the standby would pull it.
type ImageFacts struct {
	Image, Registry string
	Workloads       int
	Example         string   // one of them
	Archs           []string // that it is for; nil = its registry does not tell
	Lost            string   // why it cannot be pulled; "" = it can
	Denied          bool     // it is Lost for want of credentials
	Unknown         string   // why nobody knows
}

// judgeImages: what is released on the standby is pulled there, on the worst day.
func judgeImages(f PreflightFacts) []PreflightLine {
	const what = "images of workloads in scope"
	if !f.Images.Known {
		return unchecked("set encryption and etcd of both sides; where this machine reaches no registry: access.skip", what, orUnknown(f.Images.Why))
	}
	if len(f.Images.Value) == 0 {
		return checked(CheckOK, "", "no workload is in scope, so no image has to be there")
	}
	upload := "upload them to where " + f.Standby.Name + " pulls from"
	if _, alauda := f.Standby.Platform.Value["Alauda"]; alauda {
		upload += ": violet push PACKAGE --platform-address https://" + inURL(nothingAt(f.Standby.VIP)) + " --dest-repo REGISTRY, with that registry's user and password or --no-auth"
	}
	need := archsOf(f.Standby.Nodes.Value)
	var missing, denied, foreign []string
	unknown := map[string][]string{}
	fine := 0
	for _, i := range f.Images.Value {
		shown := fmt.Sprintf("%s (%s)", i.Image, i.Example)
		lacking := without(need, i.Archs)
		switch {
		case i.Unknown != "":
			why := i.Registry + ": " + i.Unknown
			unknown[why] = append(unknown[why], i.Image)
		case i.Denied:
			denied = append(denied, shown)
		case i.Lost != "":
			missing = append(missing, shown)
		case i.Archs != nil && len(need) > 0 && len(lacking) == len(need):
			foreign = append(foreign, fmt.Sprintf("%s is for %s", i.Image, strings.Join(i.Archs, ", ")))
		default:
			fine++
		}
	}
	var lines []PreflightLine
	if len(missing) > 0 {
		lines = append(lines, checked(CheckFail, upload, "%d of %d images are not in the registry: %s", len(missing), len(f.Images.Value), some(missing))...)
	}
	if len(denied) > 0 {
		lines = append(lines, checked(CheckFail, "give the workload or its ServiceAccount a Secret that opens the registry; sync copies it where it is in scope",
			"the registry does not let %d of %d images be pulled with the credentials that %s will have: %s", len(denied), len(f.Images.Value), f.Standby.Name, some(denied))...)
	}
	if len(foreign) > 0 {
		lines = append(lines, checked(CheckFail, "build and upload them for "+strings.Join(need, ", ")+" as well", "%d images are not for the nodes of %s (%s): %s", len(foreign), f.Standby.Name, strings.Join(need, ", "), some(foreign))...)
	}
	for _, why := range slices.Sorted(maps.Keys(unknown)) {
		lines = append(lines, unchecked("ask from a machine that reaches it (access.ca for its authority), or where none does: access.skip", fmt.Sprintf("%d images", len(unknown[why])), why)...)
	}
	if fine > 0 {
		lines = append(lines, checked(CheckOK, "", "%d of %d images can be pulled for %s", fine, len(f.Images.Value), f.Standby.Name)...)
	}
	return lines
}

// judgeRegistryHosts: a registry that is called by an address of the primary dies with it.
func judgeRegistryHosts(f PreflightFacts) []PreflightLine {
	if !f.Primary.Credentials.Known {
		return unchecked("set primary.encryption to what its API servers run with", "hosts of registries", orUnknown(f.Primary.Credentials.Why))
	}
	users := map[string]string{}
	add := func(host, user string) {
		if users[host] == "" {
			users[host] = user
		}
	}
	for name, list := range f.Primary.Credentials.Value {
		for _, c := range list {
			if host := hostOf(c.Registry); host != "" {
				add(host, "the Secret "+name)
			}
		}
	}
	for _, i := range f.Images.Value {
		if host := hostOf(i.Registry); host != "" {
			add(host, i.Example)
		}
	}
	own := []string{f.Primary.VIP}
	for _, node := range f.Primary.Nodes.Value {
		own = append(own, append([]string{node.Name}, node.Addresses...)...)
	}
	if f.Primary.Address != "" {
		own = append(own, f.Primary.Address)
	}
	var lines []PreflightLine
	for _, host := range slices.Sorted(maps.Keys(users)) {
		if leadsTo(own, host) {
			lines = append(lines, checked(CheckFail, "call the registry by the access address, which leads to either side", "the registry %s, which %s names, is %s itself: it dies with it", host, users[host], f.Primary.Name)...)
		}
	}
	const what = "whether registries are called by an address of "
	switch {
	case !f.Images.Known:
		lines = append(lines, unchecked("see the check images", what+f.Primary.Name, "images are not known: "+orUnknown(f.Images.Why))...)
	case !f.Primary.Nodes.Known:
		lines = append(lines, unchecked("see the check nodes", what+f.Primary.Name, "its nodes are not known: "+orUnknown(f.Primary.Nodes.Why))...)
	case len(f.Primary.Nodes.Value) == 0:
		lines = append(lines, unchecked("see the check nodes", what+f.Primary.Name, "it has no Node objects, so the addresses of its machines are not known")...)
	case lines != nil:
	case len(users) == 0:
		return checked(NotApplicable, "", "no Secret of %s and no image in scope names a registry", f.Primary.Name)
	default:
		return checked(CheckOK, "", "no registry of %d is called by an address of %s", len(users), f.Primary.Name)
	}
	return lines
}

// hostOf is a registry as credentials have it, without scheme, path and port.
func hostOf(registry string) string {
	_, rest, found := strings.Cut(registry, "://")
	if !found {
		rest = registry
	}
	rest, _, _ = strings.Cut(rest, "/")
	if host, _, err := net.SplitHostPort(rest); err == nil {
		return host
	}
	return rest
}
