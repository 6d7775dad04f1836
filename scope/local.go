package scope

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	kjson "k8s.io/apimachinery/pkg/util/json"

	"github.com/understudy-dr/understudy/registry"
)

// Local names fields whose value the standby keeps for itself.
type Local struct {
	Resources []string // "plural.group", or "*.group" for all of it and of its subgroups
	// Fields are JSON pointers (RFC 6901), but that in a list a step NAME=VALUE
	// stands for all elements in which the field NAME is VALUE.
	Fields []string
	Types  []string // only of Secrets of these types; nil = of all objects
	Origin string   // "profile management-cluster"; "" = "local[N]", its place among those without one
}

// Locals are all local fields of a pair. The zero Locals have none.
type Locals struct {
	of     map[string][]localField // by resource, as it was given
	groups []string                // those of them that begin with "*."
	hash   string
}

type localField struct {
	Local // that it comes from
	path  registry.Path
}

// defaultLocals: what the standby's own controllers write for objects that are
// held there, and what names the cluster's own webhook. Most of it is status.
//
// The controller that aggregates ClusterRoles comes to the same rules on both
// sides, but each at its own time.
//
// The controllers of Cluster API, core and providers, write one thing into the
// objects of a paused Cluster: that they have seen it (util/paused of
// sigs.k8s.io/cluster-api). Objects of before its v1beta2 have the condition
// under status.v1beta2.
//
// API servers store definitions as v1beta1, the shorter one (the codec in
// pkg/cmd/server/options of k8s.io/apiextensions-apiserver).
var defaultLocals = append(statusLocals(), []Local{
	{
		Resources: []string{"customresourcedefinitions.apiextensions.k8s.io"},
		Fields:    []string{"/spec/conversion/webhookClientConfig/caBundle", "/spec/conversion/webhook/clientConfig/caBundle"},
	},
	{
		Resources: []string{"clusterroles.rbac.authorization.k8s.io"},
		Fields:    []string{"/metadata/managedFields/manager=clusterrole-aggregation-controller"},
	},
	{
		Resources: []string{"*.cluster.x-k8s.io"},
		Fields:    []string{"/status/conditions/type=Paused", "/status/v1beta2/conditions/type=Paused", statusManagers},
	},
}...)

// DefaultLocals are the local fields of a profile. The profile everything has
// none: no controller of the standby writes anything there.
func DefaultLocals(profile string) []Local {
	if profile == "everything" {
		return nil
	}
	out := append(slices.Clone(defaultLocals), mixedState)
	for i := range out {
		out[i].Origin = "profile " + profile
	}
	return out
}

// TokenLocals are the local fields of ServiceAccount-token Secrets that take
// part: the standby's token controller writes its own cluster's certificate
// authority into each.
func TokenLocals() []Local {
	return []Local{{Resources: []string{"secrets"}, Fields: []string{"/data/ca.crt", "/metadata/managedFields"},
		Types: []string{ServiceAccountToken}, Origin: "sync.serviceAccountTokens: shared"}}
}

// NewLocals checks the pointers.
func NewLocals(locals []Local) (*Locals, error) {
	l := &Locals{of: map[string][]localField{}}
	configured := 0
	for _, local := range locals {
		if local.Origin == "" {
			local.Origin = fmt.Sprintf("local[%d]", configured)
			configured++
		}
		named := slices.Clone(local.Resources)
		for j, gr := range named {
			named[j] = strings.TrimPrefix(gr, "*.")
		}
		if err := checkResources(named); err != nil {
			return nil, &RuleError{Field: local.Origin + ".resources", Err: err}
		}
		for j, pointer := range local.Fields {
			path, err := parsePointer(pointer)
			if err != nil {
				return nil, &RuleError{Field: fmt.Sprintf("%s.fields[%d]", local.Origin, j), Err: err}
			}
			one := local
			one.Fields = []string{pointer}
			for _, gr := range local.Resources {
				if err := registry.CheckPath(gr, path); err != nil {
					return nil, &RuleError{Field: fmt.Sprintf("%s.fields[%d]", local.Origin, j), Err: fmt.Errorf("%q in %s: %w", pointer, gr, err)}
				}
				if strings.HasPrefix(gr, "*.") && !slices.Contains(l.groups, gr) {
					l.groups = append(l.groups, gr)
				}
				l.of[gr] = append(l.of[gr], localField{one, path})
			}
		}
	}
	if len(l.of) == 0 {
		return l, nil
	}
	type decider struct{ Fields, Types []string }
	deciders := map[string][]decider{}
	for gr, list := range l.of {
		for _, f := range list {
			deciders[gr] = append(deciders[gr], decider{f.Fields, f.Types})
		}
	}
	raw, err := json.Marshal(deciders)
	if err != nil {
		return nil, fmt.Errorf("local fields: %w", err)
	}
	sum := sha256.Sum256(raw)
	l.hash = hex.EncodeToString(sum[:16])
	return l, nil
}

// Of are the local fields of a resource, one in each Local.
func (l *Locals) Of(groupResource string) []Local {
	var out []Local
	for _, f := range l.fields(groupResource) {
		out = append(out, f.Local)
	}
	return out
}

// fields are the local fields of a resource.
func (l *Locals) fields(groupResource string) []localField {
	if l == nil {
		return nil
	}
	out := l.of[groupResource]
	for _, group := range l.groups {
		if strings.HasSuffix(groupResource, group[1:]) {
			out = append(slices.Clip(out), l.of[group]...)
		}
	}
	return out
}

// paths are those of one object's local fields.
func (l *Locals) paths(groupResource string, object []byte) ([]registry.Path, error) {
	var out []registry.Path
	var meta registry.Meta
	for _, f := range l.fields(groupResource) {
		if f.Types != nil && meta.Kind == "" {
			var err error
			if meta, err = registry.ReadMeta(object); err != nil {
				return nil, err
			}
		}
		if f.Types == nil || slices.Contains(f.Types, meta.Type) {
			out = append(out, f.path)
		}
	}
	return out, nil
}

// parsePointer takes a JSON pointer apart.
func parsePointer(pointer string) (registry.Path, error) {
	if !strings.HasPrefix(pointer, "/") || pointer == "/" {
		return nil, fmt.Errorf("%q is no JSON pointer to a field: write it as /status or /metadata/annotations/a.example.com~1b", pointer)
	}
	path := strings.Split(pointer[1:], "/")
	for i, step := range path {
		path[i] = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
	}
	if path[0] == "apiVersion" || path[0] == "kind" || path[0] == "metadata" && (len(path) == 1 || slices.Contains([]string{"uid", "name", "namespace", "ownerReferences", "finalizers", "deletionTimestamp"}, path[1])) {
		return nil, fmt.Errorf("%q is what makes the object the same on both sides", pointer)
	}
	return path, nil
}

// Concerns reports whether objects of a resource have local fields.
func (l *Locals) Concerns(groupResource string) bool {
	return len(l.fields(groupResource)) > 0
}

// Own is what an object has in its local fields. The zero Own is that of an
// object that does not exist or cannot be read.
type Own struct {
	parts   string // as JSON
	uid     string // of the object
	version string // of the API, in which the parts are
}

// Size is how many bytes it takes.
func (o Own) Size() int { return len(o.parts) + len(o.uid) + len(o.version) }

// Own reads an object's local fields.
func (l *Locals) Own(groupResource string, object []byte) (Own, error) {
	paths, err := l.paths(groupResource, object)
	if err != nil {
		return Own{}, err
	}
	return own(object, paths)
}

func own(object []byte, paths []registry.Path) (Own, error) {
	parts, err := registry.ReadParts(object, paths)
	if err != nil {
		return Own{}, err
	}
	raw, err := json.Marshal(parts)
	if err != nil {
		return Own{}, fmt.Errorf("local fields: %w", err)
	}
	meta, err := registry.ReadMeta(object)
	if err != nil {
		return Own{}, err
	}
	return Own{string(raw), meta.UID, meta.APIVersion}, nil
}

// Said is of the local fields only what controllers said of the object. The others
// of an object that was held until now are the hold's, and not the standby's own.
func (o Own) Said() Own {
	var parts map[string]any
	if err := kjson.Unmarshal([]byte(o.parts), &parts); err != nil {
		return o
	}
	maps.DeleteFunc(parts, func(field string, _ any) bool { return !saidOfObject(registry.Path{field}) })
	raw, err := json.Marshal(parts)
	if err != nil {
		return o
	}
	return Own{string(raw), o.uid, o.version}
}

// Keep gives want with the local fields that the standby's object has, and what
// it has in them then. An object that cannot be edited without loss is given as
// it is: then the primary's values stand in its local fields.
//
// What controllers say of an object, its status and metadata, is said of that
// object, and of no other one under its name. Other local fields are the
// cluster's, and stay with the name.
//
// An object that the standby has stored in another version of the API keeps its
// status and metadata where they have one shape in both; else they are the primary's.
// So are they where this version of Understudy does not know that of the object.
func (l *Locals) Keep(groupResource string, want []byte, standby Own) ([]byte, Own, error) {
	return l.keep(groupResource, want, standby, false)
}

// Release is Keep for an original that is put back. Which Jobs of a CronJob run,
// and what has been decided about a Job, only the primary knew: the standby's
// controllers said of them that they were suspended.
func (l *Locals) Release(groupResource string, original []byte, standby Own) ([]byte, Own, error) {
	return l.keep(groupResource, original, standby, groupResource == "jobs.batch" || groupResource == "cronjobs.batch")
}

func (l *Locals) keep(groupResource string, want []byte, standby Own, primarysStatus bool) ([]byte, Own, error) {
	paths, err := l.paths(groupResource, want)
	if err != nil {
		return nil, Own{}, err
	}
	primary, err := own(want, paths)
	switch {
	case errors.Is(err, registry.ErrNotEditable):
		return want, Own{}, nil
	case err != nil:
		return nil, Own{}, err
	}
	if standby == (Own{}) || primary == standby {
		return want, primary, nil // to the byte
	}
	var parts registry.Fields
	if err := kjson.Unmarshal([]byte(standby.parts), (*map[string]any)(&parts)); err != nil {
		return nil, Own{}, fmt.Errorf("local fields: %w", err)
	}
	object, err := registry.ReadFields(want)
	if err != nil {
		return nil, Own{}, err
	}
	kept := slices.DeleteFunc(slices.Clone(paths), func(p registry.Path) bool { return !saidOfObject(p) && !hasPlace(parts, object, p) })
	if primarysStatus || endedJob(groupResource, object) {
		kept = apartFrom(kept, "status")
	}
	if primary.uid != standby.uid || primary.version != standby.version && !registry.Converts(groupResource) {
		kept = apartFrom(kept, "status", "metadata")
	}
	if len(kept) == 0 {
		return want, primary, nil
	}
	value, err := registry.WriteFields(registry.ReplaceParts(object, parts, kept), want)
	if err != nil {
		return want, primary, nil
	}
	if len(kept) < len(paths) {
		standby, err = own(value, paths)
	}
	return value, standby, err
}

// saidOfObject reports whether a path is to what controllers say of an object. All
// else is what a cluster has put into it.
func saidOfObject(path registry.Path) bool { return path[0] == "status" || path[0] == "metadata" }

// hasPlace reports whether the standby's object has something at a path, and the
// primary's a place for it. What the standby lacks besides its controllers' own
// fields, a webhook's caBundle that nobody has injected there, is the primary's.
func hasPlace(standby, primary registry.Fields, path registry.Path) bool {
	return leads(map[string]any(standby), path, isSet) && leads(map[string]any(primary), path[:len(path)-1], isContainer)
}

func isSet(v any) bool { return v != nil }

func isContainer(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// leads reports whether a path leads to something of a kind.
func leads(v any, path registry.Path, is func(any) bool) bool {
	for i, step := range path {
		if list, ok := v.([]any); ok {
			name, value, _ := strings.Cut(step, "=")
			return slices.ContainsFunc(list, func(e any) bool {
				fields, _ := e.(map[string]any)
				return fields[name] == value && leads(e, path[i+1:], is)
			})
		}
		fields, _ := v.(map[string]any)
		v = fields[step]
	}
	return is(v)
}

// endedJob reports whether an object of the primary is a Job that has ended. Its
// status is not local: the standby's controller, which held it, knows of no end
// and would run it again on release.
func endedJob(groupResource string, object registry.Fields) bool {
	if groupResource != "jobs.batch" {
		return false
	}
	status, _ := object["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	return slices.ContainsFunc(conditions, func(one any) bool {
		c, _ := one.(map[string]any)
		return (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True"
	})
}

// labelJob gives a Job without labels those of its template, as the API server
// does with the first write after the Job's creation, which may be that of the
// standby's controller (SetDefaults_Job in pkg/apis/batch/v1 of k8s.io/kubernetes).
func labelJob(groupResource string, object registry.Fields) {
	if groupResource != "jobs.batch" {
		return
	}
	spec, _ := object["spec"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	from, _ := template["metadata"].(map[string]any)
	metadata, _ := object["metadata"].(map[string]any)
	if labels, _ := metadata["labels"].(map[string]any); metadata != nil && len(labels) == 0 && from["labels"] != nil {
		metadata["labels"] = runtime.DeepCopyJSONValue(from["labels"])
	}
}

// apartFrom leaves out the paths that begin with one of some fields.
func apartFrom(paths []registry.Path, fields ...string) []registry.Path {
	return slices.DeleteFunc(slices.Clone(paths), func(p registry.Path) bool { return slices.Contains(fields, p[0]) })
}
