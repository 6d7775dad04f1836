package verify

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/understudy-dr/understudy/registry"
)

// judgeBuiltins finds built-in objects that the standby's API servers cannot
// read for the version that they are stored in: one that Kubernetes has dropped,
// or one that is newer than they are. One such object fails every LIST of its
// resource.
func (s *simulator) judgeBuiltins() {
	type stored struct{ group, version, kind, resource string }
	unread := map[stored]string{}
	newest := s.newestServed()
	for i := range s.objects {
		o := &s.objects[i]
		// What no API server of today serves in any version, as a PodSecurityPolicy,
		// is in nobody's way.
		if _, served := builtinKinds[schema.GroupKind{Group: o.resource.group, Kind: o.kind}]; !served || !registry.BuiltIn(o.resource.name) {
			continue
		}
		as := stored{o.group, o.version, o.kind, o.resource.name}
		why, asked := unread[as]
		if !asked {
			gv := schema.GroupVersion{Group: o.group, Version: o.version}
			why = s.unread(gv, o.kind, newest)
			unread[as] = why
		}
		if why != "" {
			s.note(VersionNotRead, Red, o, func() string {
				return fmt.Sprintf("stored as %s of %s: %s", o.kind, schema.GroupVersion{Group: o.group, Version: o.version}, why)
			})
		}
	}
}

// unread is why the standby's API servers do not read a kind in a version, ""
// where they do.
func (s *simulator) unread(gv schema.GroupVersion, kind string, newest map[string]string) string {
	switch {
	case s.groupVersions[gv]:
		return ""
	case !registry.Readable(gv.String(), kind):
		return "Kubernetes has dropped the version"
	case newest[gv.Group] != "" && stable(gv.Version) && version.CompareKubeAwareVersionStrings(gv.Version, newest[gv.Group]) > 0:
		return "the newest that the standby's API servers serve is " + newest[gv.Group]
	}
	return ""
}

// newestServed is the newest version of each group that the API servers announce.
func (s *simulator) newestServed() map[string]string {
	newest := map[string]string{}
	for gv := range s.groupVersions {
		if newest[gv.Group] == "" || version.CompareKubeAwareVersionStrings(gv.Version, newest[gv.Group]) > 0 {
			newest[gv.Group] = gv.Version
		}
	}
	return newest
}

// stable tells v1 from v1beta1. A stable version is served wherever it is known.
func stable(v string) bool { return !strings.Contains(v, "alpha") && !strings.Contains(v, "beta") }
