package main

import (
	"fmt"
	"strings"

	"github.com/understudy-dr/understudy/registry"
)

// platformMark is where a platform says its version; words are shown one after
// the other, with the first path of each that is there.
type platformMark struct {
	platform string
	words    [][]string
}

// platformMarks are the objects that tell, as Key.String names them. A
// platform that keeps its version elsewhere is compared by access.checks.
var platformMarks = map[string]platformMark{
	// Deckhouse's documentation reads version and edition there, to choose the installer's image:
	// deckhouse.io, "Control plane management", how to add or remove masters.
	"deployments.apps d8-system/deckhouse": {"Deckhouse", [][]string{
		{"metadata.annotations.core~deckhouse~io/version"},
		{"metadata.annotations.core~deckhouse~io/edition"}}},
	// Alauda: the platform's one ProductBase (product.alauda.io/v1alpha1), in which its upgrade is
	// ordered. The vendor's charts look spec.version up there.
	"productbases.product.alauda.io base": {"Alauda", [][]string{{"spec.version"}}},
	// Rancher: pkg/settings, "server-version", and what it was started from.
	"settings.management.cattle.io server-version": {"Rancher", [][]string{{"value", "default"}}},
	// Advanced Cluster Management: MultiClusterHub's status; its usual name and namespace.
	"multiclusterhubs.operator.open-cluster-management.io open-cluster-management/multiclusterhub": {"ACM", [][]string{{"status.currentVersion"}}},
	// OpenShift: ClusterVersion "version".
	"clusterversions.config.openshift.io version": {"OpenShift", [][]string{{"status.desired.version"}}},
}

// platformResources are the resources of platformMarks by their platform.
func platformResources() map[string]string {
	out := map[string]string{}
	for key, mark := range platformMarks {
		out[mark.platform], _, _ = strings.Cut(key, " ")
	}
	return out
}

func (s *survey) seePlatform(mark platformMark, fields registry.Fields) {
	var said []string
	for _, paths := range mark.words {
		for _, path := range paths {
			if word := textAt(fields, path); word != "" {
				said = append(said, word)
				break
			}
		}
	}
	s.platform[mark.platform] = strings.Join(said, " ") // "" = it is there, and does not tell
}

// textAt is the text at a path of fields; ~ stands for a dot in a name.
func textAt(v any, path string) string {
	for step := range strings.SplitSeq(path, ".") {
		switch m := v.(type) {
		case registry.Fields:
			v = m[strings.ReplaceAll(step, "~", ".")]
		case map[string]any:
			v = m[strings.ReplaceAll(step, "~", ".")]
		default:
			return ""
		}
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
