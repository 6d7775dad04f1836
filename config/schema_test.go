package config

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"
)

// An editor that knows the schema must accept what understudy accepts, and
// complain about the common mistakes.
func TestSchemaAgreesWithTheDecoder(t *testing.T) {
	data, err := os.ReadFile("../docs/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema spec.Schema
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	validator := validate.NewSchemaValidator(&schema, nil, "", strfmt.Default)
	valid := func(text string) bool {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return validator.Validate(v).IsValid()
	}
	effective, err := parse(t, string(Template())).YAML()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"minimal":   minimal,
		"template":  string(Template()),
		"effective": string(effective),
		"rules":     minimal + "sync: {exclude: [{namespaces: [a-*]}, {types: [Opaque], names: [b]}], include: []}\n",
		"hold":      minimal + "hold: {defaults: false, objects: [{resources: [a.b], patch: {spec: {n: 1}}}], workloads: [{namespace: a, name: b}]}\n",
		"hold list": minimal + "hold: [{resources: [a.b], patch: {}}]\nlocal: [{resources: [a.b], fields: [/status]}]\n",
		"durations": minimal + "breaker: {window: +1m}\nsync: {lagThreshold: .5h}\n",
		"size":      minimal[:len(minimal)-1] + "\n  encryption: e.conf\n",
	} {
		parse(t, text)
		if !valid(text) {
			t.Errorf("%s: the schema refuses what Parse takes", name)
		}
	}
	for name, text := range map[string]string{
		"nothing":        "{}",
		"unknown field":  minimal + "sync: {exlude: []}\n",
		"wrong profile":  minimal + "sync: {profile: some}\n",
		"wrong type":     minimal + "listen: 8642\n",
		"no unit":        minimal + "check: {interval: '5'}\n",
		"empty rule":     minimal + "sync: {exclude: [{}]}\n",
		"patch a string": minimal + "hold: [{resources: [a.b], patch: x}]\n",
		"hold, unknown":  minimal + "hold: {objekts: []}\n",
		"port":           minimal + "access: {ports: [0]}\n",
		"large port":     minimal + "access: {ports: [70000]}\n",
		"a URL":          minimal + "access: {address: 'https://x'}\n",
		"no host":        minimal + "access: {names: ['']}\n",
		"no namespace":   minimal + "access: {registrySecrets: [a]}\n",
		"two selections": strings.Replace(minimal, "name: spb", "name: spb\n  kubeconfig: k", 1) + "hold: {workloads: [{namespace: a, name: b, selector: c}]}\n",
		"capitals":       strings.Replace(minimal, "https://10.1", "HTTPS://10.1", 1),
		"a space":        strings.Replace(minimal, "https://10.1", "https://1 0.1", 1),
		"slash missing":  minimal + "sync: {prefix: /registry}\n",
		"another format": "apiVersion: v1\n" + minimal[len("apiVersion: understudy.dev/v1alpha1\n"):],
	} {
		if _, err := Parse("f", []byte(text)); err == nil {
			t.Errorf("%s: Parse takes it", name)
		}
		if valid(text) {
			t.Errorf("%s: the schema takes what Parse refuses", name)
		}
	}
}
