package registry

import (
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// conversions bring objects of a resource from an older version into the shape of
// its newest: what Kubernetes' own conversion functions do (pkg/apis/*/*/conversion.go
// of k8s.io/kubernetes), on the fields as JSON has them. Versions that are not named
// have the shape of the newest one. A resource that is missing here has versions
// that nobody here can convert.
//
// Values that a newer API server fills in by default are not filled in here.
var conversions = map[string]map[string]func(Fields) error{
	"controllerrevisions.apps": {},
	"deployments.apps":         {"extensions/v1beta1": rollbackTo, "apps/v1beta1": rollbackTo},
	"daemonsets.apps":          {"extensions/v1beta1": templateGeneration},
	"replicasets.apps":         {},
	"statefulsets.apps":        {},
	"cronjobs.batch":           {},

	"horizontalpodautoscalers.autoscaling": {"autoscaling/v1": autoscaler},
	"poddisruptionbudgets.policy":          {"policy/v1beta1": disruptionBudget},

	"ingresses.networking.k8s.io":       {"extensions/v1beta1": ingress, "networking.k8s.io/v1beta1": ingress},
	"ingressclasses.networking.k8s.io":  {},
	"ipaddresses.networking.k8s.io":     {},
	"networkpolicies.networking.k8s.io": {},
	"servicecidrs.networking.k8s.io":    {},
	"runtimeclasses.node.k8s.io":        {"node.k8s.io/v1alpha1": runtimeClass},

	"clusterrolebindings.rbac.authorization.k8s.io": {"rbac.authorization.k8s.io/v1alpha1": binding},
	"clusterroles.rbac.authorization.k8s.io":        {},
	"rolebindings.rbac.authorization.k8s.io":        {"rbac.authorization.k8s.io/v1alpha1": binding},
	"roles.rbac.authorization.k8s.io":               {},

	"mutatingadmissionpolicies.admissionregistration.k8s.io":         {},
	"mutatingadmissionpolicybindings.admissionregistration.k8s.io":   {},
	"mutatingwebhookconfigurations.admissionregistration.k8s.io":     {},
	"validatingadmissionpolicies.admissionregistration.k8s.io":       {},
	"validatingadmissionpolicybindings.admissionregistration.k8s.io": {},
	"validatingwebhookconfigurations.admissionregistration.k8s.io":   {},

	"clustertrustbundles.certificates.k8s.io": {},
	"leases.coordination.k8s.io":              {},
	"priorityclasses.scheduling.k8s.io":       {},

	"csidrivers.storage.k8s.io":              {},
	"csinodes.storage.k8s.io":                {},
	"csistoragecapacities.storage.k8s.io":    {},
	"storageclasses.storage.k8s.io":          {},
	"volumeattachments.storage.k8s.io":       {},
	"volumeattributesclasses.storage.k8s.io": {},
}

// Newest gives an object of a built-in resource in the shape of the newest
// version, without saying which that is; false where it is not known how. Objects
// of two versions can be compared then.
func Newest(groupResource string, object Fields) (Fields, bool) {
	shapes, known := conversions[groupResource]
	if !known {
		return nil, false
	}
	version, _ := object["apiVersion"].(string)
	gv, err := schema.ParseGroupVersion(version)
	if err != nil || !scheme.IsVersionRegistered(gv) {
		return nil, false
	}
	out := Fields(runtime.DeepCopyJSON(object))
	if convert := shapes[version]; convert != nil {
		if err := convert(out); err != nil {
			return nil, false
		}
	}
	delete(out, "apiVersion")
	return out, true
}

// Converts reports whether Newest knows the versions of a resource. Then what the API
// server's own controllers say of an object has one shape in all, mostly.
func Converts(groupResource string) bool { return conversions[groupResource] != nil }

// mapIn gives the map at the end of steps, nil where there is none.
func mapIn(object Fields, steps ...string) map[string]any {
	at := map[string]any(object)
	for _, step := range steps {
		at, _ = at[step].(map[string]any)
	}
	return at
}

func annotate(object Fields, name, value string) {
	metadata := mapIn(object, "metadata")
	if metadata == nil {
		return
	}
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	annotations[name] = value
}

func rollbackTo(object Fields) error {
	spec := mapIn(object, "spec")
	if to, ok := spec["rollbackTo"].(map[string]any); ok {
		revision, _ := to["revision"].(int64)
		annotate(object, "deprecated.deployment.rollback.revision", fmt.Sprint(revision))
		delete(spec, "rollbackTo")
	}
	return nil
}

func templateGeneration(object Fields) error {
	spec := mapIn(object, "spec")
	generation, _ := spec["templateGeneration"].(int64)
	annotate(object, "deprecated.daemonset.template.generation", fmt.Sprint(generation))
	delete(spec, "templateGeneration")
	return nil
}

// disruptionBudget: in v1beta1 an empty selector selects nothing, in v1 everything.
func disruptionBudget(object Fields) error {
	const match = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match"
	only := func(operator string) map[string]any {
		return map[string]any{"matchExpressions": []any{map[string]any{"key": match, "operator": operator}}}
	}
	spec := mapIn(object, "spec")
	selector, ok := spec["selector"].(map[string]any)
	switch {
	case ok && len(selector) == 0:
		spec["selector"] = only("Exists")
	case reflect.DeepEqual(selector, only("DoesNotExist")):
		spec["selector"] = map[string]any{}
	}
	return nil
}

func ingress(object Fields) error {
	spec := mapIn(object, "spec")
	if backend, ok := spec["backend"].(map[string]any); ok {
		ingressBackend(backend)
		spec["defaultBackend"] = backend
		delete(spec, "backend")
	}
	rules, _ := spec["rules"].([]any)
	for _, rule := range rules {
		fields, _ := rule.(map[string]any)
		paths, _ := mapIn(fields, "http")["paths"].([]any)
		for _, path := range paths {
			p, _ := path.(map[string]any)
			ingressBackend(mapIn(p, "backend"))
			if p != nil && p["pathType"] == nil {
				p["pathType"] = "ImplementationSpecific"
			}
		}
	}
	return nil
}

func ingressBackend(backend map[string]any) {
	name, _ := backend["serviceName"].(string)
	port := backend["servicePort"]
	delete(backend, "serviceName")
	delete(backend, "servicePort")
	to := map[string]any{}
	switch port := port.(type) {
	case string:
		to["name"] = port
	case int64:
		if port != 0 {
			to["number"] = port
		}
	}
	if name == "" && len(to) == 0 || backend == nil {
		return
	}
	backend["service"] = map[string]any{"name": name, "port": to}
}

func runtimeClass(object Fields) error {
	spec := mapIn(object, "spec")
	object["handler"] = spec["runtimeHandler"]
	for _, field := range []string{"overhead", "scheduling"} {
		if spec[field] != nil {
			object[field] = spec[field]
		}
	}
	delete(object, "spec")
	return nil
}

func binding(object Fields) error {
	const group = "rbac.authorization.k8s.io"
	subjects, _ := object["subjects"].([]any)
	for _, one := range subjects {
		subject, _ := one.(map[string]any)
		version, _ := subject["apiVersion"].(string)
		delete(subject, "apiVersion")
		switch subject["kind"] {
		case "ServiceAccount":
		case "User", "Group":
			subject["apiGroup"] = group
			if subject["kind"] == "User" && subject["name"] == "*" {
				subject["kind"], subject["name"] = "Group", "system:authenticated"
			}
		default:
			if of, _, found := strings.Cut(version, "/"); found {
				subject["apiGroup"] = of
			}
		}
	}
	return nil
}
