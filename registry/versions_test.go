package registry

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kubernetes' module of API types is walked, so that a version that it adds, or
// that somebody forgets, is found.
func TestEveryStoredVersionCanBeRead(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := strings.TrimSpace(string(out))
	files, err := filepath.Glob(filepath.Join(module, "*", "v*", "register.go"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d versions below %s, %v", len(files), module, err)
	}
	neverStored := []string{"admission", "apidiscovery", "authentication", "authorization", "imagepolicy"}
	group := regexp.MustCompile(`GroupName\s*=\s*"([^"]*)"`)
	kinds := regexp.MustCompile(`&(\w+)\{\},`)
	found := 0
	for _, file := range files {
		version := filepath.Base(filepath.Dir(file))
		name := filepath.Base(filepath.Dir(filepath.Dir(file)))
		if slices.Contains(neverStored, name) {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		gv := schema.GroupVersion{Group: string(group.FindSubmatch(source)[1]), Version: version}
		for _, kind := range kinds.FindAllSubmatch(source, -1) {
			found++
			if !scheme.Recognizes(gv.WithKind(string(kind[1]))) {
				t.Errorf("%s %s is not in the scheme", gv, kind[1])
			}
		}
	}
	if found < 200 {
		t.Errorf("only %d kinds were found below %s", found, module)
	}
}

// A resource with several versions is converted, or is one of those that nobody here can.
func TestEveryResourceOfSeveralVersionsIsDecidedAbout(t *testing.T) {
	cannot := []string{
		"certificatesigningrequests.certificates.k8s.io", "endpointslices.discovery.k8s.io", "leasecandidates.coordination.k8s.io",
		"flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
		"resourceclaims.resource.k8s.io", "resourceclaimtemplates.resource.k8s.io", "resourceslices.resource.k8s.io",
		"deviceclasses.resource.k8s.io", "devicetaintrules.resource.k8s.io",
	}
	for gr, kind := range builtinKinds {
		group := schema.ParseGroupResource(gr).Group
		versions := scheme.VersionsForGroupKind(schema.GroupKind{Group: group, Kind: kind})
		if several := len(versions) > 1; several && (conversions[gr] == nil) != slices.Contains(cannot, gr) {
			t.Errorf("%s has the versions %v: is it converted? See conversions", gr, versions)
		}
	}
}

// A version without a function of its own must have no field that the newest lacks.
func TestVersionsOfOneShapeHaveIt(t *testing.T) {
	for gr, shapes := range conversions {
		kind := builtinKinds[gr]
		if kind == "" {
			t.Errorf("%s is no built-in resource", gr)
			continue
		}
		group := schema.ParseGroupResource(gr).Group
		newest := scheme.VersionsForGroupKind(schema.GroupKind{Group: group, Kind: kind})
		if len(newest) == 0 {
			t.Errorf("%s has no version", gr)
			continue
		}
		to := scheme.AllKnownTypes()[newestOf(newest).WithKind(kind)]
		for gvk, from := range scheme.AllKnownTypes() {
			if gvk.Kind != kind || gvk.Group != group && gvk.Group != "extensions" || shapes[gvk.GroupVersion().String()] != nil {
				continue
			}
			lacks(t, gvk.String(), from, to, "", map[reflect.Type]bool{})
		}
	}
}

func newestOf(versions []schema.GroupVersion) schema.GroupVersion {
	return slices.MaxFunc(versions, func(a, b schema.GroupVersion) int {
		return strings.Compare(rank(a.Version), rank(b.Version))
	})
}

// rank: v1alpha1 < v1beta1 < v1 < v2.
func rank(version string) string {
	stable := regexp.MustCompile(`^v\d+$`).MatchString(version)
	if stable {
		return "z" + version
	}
	return strings.ReplaceAll(version, "v1", "")
}

func lacks(t *testing.T, what string, from, to reflect.Type, path string, seen map[reflect.Type]bool) {
	t.Helper()
	for from.Kind() == reflect.Pointer || from.Kind() == reflect.Slice {
		if from = from.Elem(); to.Kind() == reflect.Pointer || to.Kind() == reflect.Slice {
			to = to.Elem()
		}
	}
	for to.Kind() == reflect.Pointer {
		to = to.Elem()
	}
	if from == to || from.Kind() != reflect.Struct || seen[from] {
		return
	}
	seen[from] = true
	for i := range from.NumField() {
		field := from.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		other, ok := fieldNamed(to, name)
		if !ok {
			t.Errorf("%s: the newest version has no %s/%s", what, path, name)
			continue
		}
		lacks(t, what, field.Type, other, path+"/"+name, seen)
	}
}

func TestObjectsAreBroughtIntoTheNewestShape(t *testing.T) {
	type object = map[string]any
	for name, tc := range map[string]struct {
		resource string
		in, want Fields
	}{
		"a disruption budget for nothing": {"poddisruptionbudgets.policy",
			Fields{"apiVersion": "policy/v1beta1", "spec": object{"selector": object{}}},
			Fields{"spec": object{"selector": object{"matchExpressions": []any{object{"key": "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match", "operator": "Exists"}}}}}},
		"a disruption budget for all": {"poddisruptionbudgets.policy",
			Fields{"apiVersion": "policy/v1beta1", "spec": object{"selector": object{"matchExpressions": []any{object{"key": "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match", "operator": "DoesNotExist"}}}}},
			Fields{"spec": object{"selector": object{}}}},
		"the same in v1": {"poddisruptionbudgets.policy",
			Fields{"apiVersion": "policy/v1", "spec": object{"selector": object{}}},
			Fields{"spec": object{"selector": object{}}}},
		"an Ingress": {"ingresses.networking.k8s.io",
			Fields{"apiVersion": "extensions/v1beta1", "spec": object{
				"backend": object{"serviceName": "a", "servicePort": int64(80)},
				"rules":   []any{object{"http": object{"paths": []any{object{"path": "/", "backend": object{"serviceName": "b", "servicePort": "web"}}}}}}}},
			Fields{"spec": object{
				"defaultBackend": object{"service": object{"name": "a", "port": object{"number": int64(80)}}},
				"rules": []any{object{"http": object{"paths": []any{object{"path": "/", "pathType": "ImplementationSpecific",
					"backend": object{"service": object{"name": "b", "port": object{"name": "web"}}}}}}}}}}},
		"an Ingress without a port": {"ingresses.networking.k8s.io",
			Fields{"apiVersion": "networking.k8s.io/v1beta1", "spec": object{"backend": object{"serviceName": "a", "servicePort": int64(0)}}},
			Fields{"spec": object{"defaultBackend": object{"service": object{"name": "a", "port": object{}}}}}},
		"an autoscaler by CPU": {"horizontalpodautoscalers.autoscaling",
			Fields{"apiVersion": "autoscaling/v1", "metadata": object{"name": "x"}, "spec": object{"maxReplicas": int64(3), "targetCPUUtilizationPercentage": int64(50)}},
			Fields{"metadata": object{"name": "x"}, "spec": object{"maxReplicas": int64(3), "metrics": []any{
				object{"type": "Resource", "resource": object{"name": "cpu", "target": object{"type": "Utilization", "averageUtilization": int64(50)}}}}}}},
		"an autoscaler by more": {"horizontalpodautoscalers.autoscaling",
			Fields{"apiVersion": "autoscaling/v1", "metadata": object{"name": "x", "annotations": object{
				"autoscaling.alpha.kubernetes.io/metrics":    `[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}}]`,
				"autoscaling.alpha.kubernetes.io/behavior":   `{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":60,"SelectPolicy":null,"Policies":null}}`,
				"autoscaling.alpha.kubernetes.io/conditions": `[]`}}, "spec": object{"maxReplicas": int64(3)}},
			Fields{"metadata": object{"name": "x"}, "spec": object{"maxReplicas": int64(3),
				"behavior": object{"scaleDown": object{"stabilizationWindowSeconds": int64(60)}},
				"metrics":  []any{object{"type": "Resource", "resource": object{"name": "memory", "target": object{"type": "AverageValue", "averageValue": "1Gi"}}}}}}},
		"a Deployment on its way back": {"deployments.apps",
			Fields{"apiVersion": "extensions/v1beta1", "metadata": object{}, "spec": object{"rollbackTo": object{"revision": int64(2)}}},
			Fields{"metadata": object{"annotations": object{"deprecated.deployment.rollback.revision": "2"}}, "spec": object{}}},
		"a RuntimeClass": {"runtimeclasses.node.k8s.io",
			Fields{"apiVersion": "node.k8s.io/v1alpha1", "spec": object{"runtimeHandler": "gvisor"}},
			Fields{"handler": "gvisor"}},
		"a binding": {"rolebindings.rbac.authorization.k8s.io",
			Fields{"apiVersion": "rbac.authorization.k8s.io/v1alpha1", "subjects": []any{
				object{"kind": "User", "name": "*", "apiVersion": "rbac.authorization.k8s.io/v1alpha1"}, object{"kind": "ServiceAccount", "name": "x", "apiVersion": "v1"}}},
			Fields{"subjects": []any{object{"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}, object{"kind": "ServiceAccount", "name": "x"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Newest(tc.resource, tc.in)
			if !ok || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%v, %v\nwant %v", got, ok, tc.want)
			}
		})
	}
	for resource, version := range map[string]string{
		"resourceclaims.resource.k8s.io":       "resource.k8s.io/v1beta1", // nobody here can
		"widgets.example.com":                  "example.com/v1",
		"horizontalpodautoscalers.autoscaling": "autoscaling/v2beta2", // no longer in the module
	} {
		if got, ok := Newest(resource, Fields{"apiVersion": version}); ok {
			t.Errorf("%s of %s became %v", resource, version, maps.Clone(got))
		}
	}
}
