package verify

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/understudy-dr/understudy/registry"
)

func definitionOf(versions, stored, more string) thing {
	return with(machines, func(o *thing) { o.body = definitionBody(versions, stored, more) })
}

const (
	beta1   = `{"name":"v1beta1","served":true,"storage":true}`
	beta2   = `{"name":"v1beta2","served":true,"storage":true}`
	convert = `,"conversion":{"strategy":"Webhook","webhook":{"clientConfig":{"service":{"namespace":"prod","name":"hook"}}}}`
)

func TestSimulateDefinitions(t *testing.T) {
	for name, tc := range map[string]struct {
		things []thing
		want   []string
	}{
		"no definition": {things: []thing{machine("a"), secret("b", aMachine("gone"))},
			want: []string{
				"red definition-missing Machine prod/a: machines.cluster.x-k8s.io is not on the standby",
				"yellow owner-kind-unknown Secret prod/b: owner Machine gone of cluster.x-k8s.io/v1beta1: the standby has no such kind",
			}},
		"a version that is gone": {things: []thing{definitionOf(beta2, `"v1beta2"`, ""), machine("a")},
			want: []string{"red version-unknown Machine prod/a: stored as v1beta1 of cluster.x-k8s.io"}},
		"a version that is not served": {things: []thing{definitionOf(`{"name":"v1beta1","served":false,"storage":false},`+beta2, `"v1beta1","v1beta2"`, ""), machine("a")},
			want: []string{"yellow version-not-served Machine prod/a: stored as v1beta1 of cluster.x-k8s.io"}},
		"a version that is not listed": {things: []thing{definitionOf(`{"name":"v1beta1","served":true},`+beta2, `"v1beta2"`, ""), machine("a")},
			want: []string{"yellow version-not-listed Machine prod/a: stored as v1beta1 of cluster.x-k8s.io"}},
		"storedVersions lists what is gone": {things: []thing{definitionOf(beta2, `"v1beta1","v1beta2"`, "")},
			want: []string{"red definition-broken CustomResourceDefinition machines.cluster.x-k8s.io: status.storedVersions lists v1beta1, which spec.versions does not have: every update of it is refused"}},
		"two storage versions": {things: []thing{definitionOf(beta1+","+beta2, `"v1beta1"`, "")},
			want: []string{"red definition-broken CustomResourceDefinition machines.cluster.x-k8s.io: it has 2 storage versions, and must have one"}},
		"v1beta1's single version": {things: []thing{with(machines, func(o *thing) {
			o.body = `{"spec":{"group":"cluster.x-k8s.io","version":"v1beta1","scope":"Namespaced","names":{"kind":"Machine","plural":"machines"}}}`
		}), machine("a"), secret("b", aMachine("a"))}},
		"not established": {things: []thing{with(machines, func(o *thing) {
			o.body = strings.Replace(o.body, `"status":{`, `"status":{"conditions":[{"type":"NamesAccepted","status":"False"}],`, 1)
		}), secret("b", aMachine("gone"))},
			want: []string{
				"red definition-broken CustomResourceDefinition machines.cluster.x-k8s.io: the API server has not established it: its names are taken, or it was refused",
				"yellow owner-kind-unknown Secret prod/b: owner Machine gone of cluster.x-k8s.io/v1beta1: its CustomResourceDefinition is not established",
			}},
		"converted by what is not there": {things: []thing{definitionOf(`{"name":"v1beta2","served":true},`+beta1, `"v1beta1"`, convert)},
			want: []string{"red conversion-without-backend CustomResourceDefinition machines.cluster.x-k8s.io: conversion: Service prod/hook is not there"}},
		"nothing to convert": {things: []thing{definitionOf(beta1, `"v1beta1"`, convert)},
			want: []string{"yellow conversion-without-backend CustomResourceDefinition machines.cluster.x-k8s.io: conversion: Service prod/hook is not there"}},
		"a torn definition": {things: []thing{{key: machines.key, raw: `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"x"},"spec":[]}`}},
			want: []string{"red undecodable CustomResourceDefinition machines.cluster.x-k8s.io: not a whole Kubernetes object: JSON: spec cannot be of type array"}},
	} {
		t.Run(name, func(t *testing.T) { compareFindings(t, tc.things, nil, tc.want) })
	}
}

func service1(namespace, name, spec string) thing {
	return thing{key: "services/specs/" + namespace + "/" + name, kind: "v1 Service", body: `{"spec":` + spec + `}`}
}

func webhook(policy, to string) thing {
	return thing{key: "validatingwebhookconfigurations/capi", kind: "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
		body: `{"webhooks":[{"name":"v.example.com","failurePolicy":` + policy + `,"clientConfig":` + to +
			`,"rules":[{"operations":["UPDATE","CREATE"],"apiGroups":["cluster.x-k8s.io"],"resources":["machines"]}]}]}`}
}

func TestSimulateBackends(t *testing.T) {
	const to = `{"service":{"namespace":"prod","name":"hook"}}`
	hook := service1("prod", "hook", `{"ports":[{"port":443}]}`)
	slice := func(ready string) thing {
		return thing{key: "endpointslices/prod/hook-x", kind: "discovery.k8s.io/v1 EndpointSlice",
			body: `{"labels":{"kubernetes.io/service-name":"hook"},"endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":` + ready + `}}]}`}
	}
	kubeSystem := thing{key: "namespaces/kube-system", kind: "v1 Namespace"}
	aggregated := thing{key: "apiregistration.k8s.io/apiservices/v1.metrics.k8s.io", kind: "apiregistration.k8s.io/v1 APIService",
		body: `{"spec":{"group":"metrics.k8s.io","version":"v1","service":{"namespace":"kube-system","name":"metrics"}}}`}
	const asked = "; it is asked for create, update of machines.cluster.x-k8s.io"
	for name, tc := range map[string]struct {
		things []thing
		want   []string
	}{
		"no Service": {things: []thing{webhook(`"Fail"`, to)},
			want: []string{"red own webhook-without-backend ValidatingWebhookConfiguration capi: webhook v.example.com: Service prod/hook is not there" + asked}},
		"Fail is the default": {things: []thing{webhook(`null`, to)},
			want: []string{"red own webhook-without-backend ValidatingWebhookConfiguration capi: webhook v.example.com: Service prod/hook is not there" + asked}},
		"Ignore does no harm": {things: []thing{webhook(`"Ignore"`, to)}},
		"another port": {things: []thing{webhook(`"Fail"`, to), service1("prod", "hook", `{"ports":[{"port":8443}]}`)},
			want: []string{"red own webhook-without-backend ValidatingWebhookConfiguration capi: webhook v.example.com: Service prod/hook has no port 443" + asked}},
		"a Service that goes": {things: []thing{webhook(`"Fail"`, to), deleting(hook)},
			want: []string{
				"red own webhook-without-backend ValidatingWebhookConfiguration capi: webhook v.example.com: Service prod/hook is being deleted or would be" + asked,
				"yellow being-deleted Service prod/hook: no finalizers",
			}},
		"nothing behind it": {things: []thing{webhook(`"Fail"`, to), hook, slice("false")},
			want: []string{"yellow own webhook-without-backend ValidatingWebhookConfiguration capi: webhook v.example.com: nothing behind Service prod/hook is ready" + asked}},
		"ready":            {things: []thing{webhook(`"Fail"`, to), hook, slice("true")}},
		"ready by default": {things: []thing{webhook(`"Fail"`, to), hook, slice("null")}},
		"ready by Endpoints": {things: []thing{webhook(`"Fail"`, to), hook,
			{key: "services/endpoints/prod/hook", kind: "v1 Endpoints", body: `{"subsets":[{"addresses":[{"ip":"10.0.0.1"}]}]}`}}},
		"another name": {things: []thing{webhook(`"Fail"`, to), service1("prod", "hook", `{"type":"ExternalName"}`)}},
		"a URL": {things: []thing{webhook(`"Fail"`, `{"url":"https://hook.example.com"}`)},
			want: []string{"info own webhook-by-url ValidatingWebhookConfiguration capi: webhook v.example.com asks https://hook.example.com"}},
		"an APIService": {things: []thing{kubeSystem, aggregated},
			want: []string{"yellow own apiservice-without-backend APIService v1.metrics.k8s.io: Service kube-system/metrics is not there"}},
		"mutating": {things: []thing{with(webhook(`"Fail"`, to), func(o *thing) {
			o.key, o.kind = "mutatingwebhookconfigurations/capi", "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration"
		})},
			want: []string{"red own webhook-without-backend MutatingWebhookConfiguration capi: webhook v.example.com: Service prod/hook is not there" + asked}},
	} {
		t.Run(name, func(t *testing.T) { compareFindings(t, tc.things, nil, tc.want) })
	}
}

func TestSimulateAddresses(t *testing.T) {
	kubeSystem := thing{key: "namespaces/kube-system", kind: "v1 Namespace"}
	dns := service1("kube-system", "dns", `{"clusterIP":"10.96.0.10","clusterIPs":["10.96.0.10"]}`)
	app := service1("prod", "app", `{"clusterIP":"10.96.0.10"}`)
	cidr := func(cidrs string) thing {
		return thing{key: "servicecidrs/kubernetes", kind: "networking.k8s.io/v1 ServiceCIDR", body: `{"spec":{"cidrs":[` + cidrs + `]}}`}
	}
	address := func(ns, name string) thing {
		return thing{key: "ipaddresses/10.96.0.10", kind: "networking.k8s.io/v1 IPAddress",
			body: `{"spec":{"parentRef":{"group":"","resource":"services","namespace":"` + ns + `","name":"` + name + `"}}}`}
	}
	for name, tc := range map[string]struct {
		things []thing
		want   []string
	}{
		"a cluster IP twice": {things: []thing{kubeSystem, dns, app, address("kube-system", "dns")},
			want: []string{
				"red own clusterip-collision Service kube-system/dns: 10.96.0.10 is that of Service prod/app as well",
				"red clusterip-collision Service prod/app: 10.96.0.10 is that of Service kube-system/dns as well",
			}},
		"an IPv6 address in two spellings": {things: []thing{kubeSystem,
			service1("kube-system", "dns", `{"clusterIP":"fd00::0a"}`), service1("prod", "app", `{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","FD00:0::a"]}`)},
			want: []string{
				"red own clusterip-collision Service kube-system/dns: fd00::a is that of Service prod/app as well",
				"red clusterip-collision Service prod/app: fd00::a is that of Service kube-system/dns as well",
			}},
		"headless and external":      {things: []thing{service1("prod", "a", `{"clusterIP":"None"}`), service1("prod", "b", `{"clusterIP":"None"}`), service1("prod", "c", `{"type":"ExternalName"}`)}},
		"outside":                    {things: []thing{app, cidr(`"10.100.0.0/16","fd00::/112"`)}, want: []string{"yellow clusterip-outside Service prod/app: 10.96.0.10 is in none of [10.100.0.0/16 fd00::/112]"}},
		"inside":                     {things: []thing{app, cidr(`"10.96.0.0/12"`), address("prod", "app")}},
		"outside of the older range": {things: []thing{app, {key: "ranges/serviceips", kind: "v1 RangeAllocation", body: `{"range":"10.100.0.0/16","data":""}`}}, want: []string{"yellow clusterip-outside Service prod/app: 10.96.0.10 is in none of [10.100.0.0/16]"}},
		"allocated to another":       {things: []thing{app, address("prod", "other")}, want: []string{"yellow clusterip-allocated Service prod/app: 10.96.0.10 is allocated to services prod/other"}},
		"a node port twice": {things: []thing{
			service1("prod", "a", `{"ports":[{"port":80,"protocol":"TCP","nodePort":30080},{"port":80,"protocol":"UDP","nodePort":30081}]}`),
			service1("prod", "b", `{"ports":[{"port":80,"protocol":"TCP","nodePort":30080}]}`),
			service1("prod", "c", `{"ports":[{"port":80,"protocol":"TCP","nodePort":30081}]}`)},
			want: []string{
				"red nodeport-collision Service prod/a: TCP 30080 is that of Service prod/b as well",
				"red nodeport-collision Service prod/b: TCP 30080 is that of Service prod/a as well",
			}},
	} {
		t.Run(name, func(t *testing.T) { compareFindings(t, tc.things, nil, tc.want) })
	}
}

func TestSimulateUnreadable(t *testing.T) {
	plain := secret("a")
	ours := aesgcm(t, "k", 'a', "")
	sealed := func(e *registry.Encryption) thing {
		stored, err := e.Encrypt("secrets", "/registry/"+plain.key, plain.pair(t).Value)
		if err != nil {
			t.Fatal(err)
		}
		return with(plain, func(o *thing) { o.raw = string(stored) })
	}
	kms, err := registry.ParseEncryption([]byte(`{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":[{"kms":{"apiVersion":"v2","name":"vault","endpoint":"unix:///x"}},{"identity":{}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		standby *registry.Encryption
		things  []thing
		want    []string
	}{
		"readable":                {standby: ours, things: []thing{sealed(ours)}},
		"no configuration":        {things: []thing{sealed(ours)}, want: []string{"yellow opaque Secret prod/a: k8s:enc:aesgcm:v1:k"}},
		"plain, no configuration": {things: []thing{plain}},
		"another key":             {standby: aesgcm(t, "other", 'b', ""), things: []thing{sealed(ours)}, want: []string{`red undecryptable Secret prod/a: no such encryption key: no provider for secrets has aesgcm key "k"`}},
		"another secret of one name": {standby: aesgcm(t, "k", 'b', ""), things: []thing{sealed(ours)},
			want: []string{`red undecryptable Secret prod/a: the encryption key does not fit: aesgcm key "k": cipher: message authentication failed`}},
		"plain text without identity": {standby: ours, things: []thing{plain},
			want: []string{"red undecryptable Secret prod/a: no such encryption key: it is stored in plain text, and identity is not among the providers for secrets"}},
		"plain text with identity": {standby: aesgcm(t, "k", 'a', `,{"identity":{}}`), things: []thing{plain, {key: "configmaps/prod/c", kind: "v1 ConfigMap"}}},
		"kms": {standby: kms, things: []thing{with(plain, func(o *thing) { o.raw = "k8s:enc:kms:v2:vault:xyz" })},
			want: []string{"yellow opaque Secret prod/a: k8s:enc:kms:v2:vault"}},
		"torn": {things: []thing{with(plain, func(o *thing) { o.raw = `{"kind":"Secret","metadata":{"na` })},
			want: []string{"red undecodable Secret prod/a: not a whole Kubernetes object: JSON broken at byte 32: it ends in the middle: want the end of the string"}},
		"the standby's own": {standby: ours, things: []thing{{key: "namespaces/kube-system", kind: "v1 Namespace"}, {key: "secrets/kube-system/s", kind: "v1 Secret"}},
			want: []string{"red own undecryptable Secret kube-system/s: no such encryption key: it is stored in plain text, and identity is not among the providers for secrets"}},
	} {
		t.Run(name, func(t *testing.T) { compareFindings(t, tc.things, tc.standby, tc.want) })
	}
}

// aesgcm is a configuration with one key for Secrets, and further providers.
func aesgcm(t *testing.T, name string, secret byte, more string) *registry.Encryption {
	t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(secret), 32)))
	e, err := registry.ParseEncryption([]byte(`{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":[{"aesgcm":{"keys":[{"name":"` + name + `","secret":"` + key + `"}]}}` + more + `]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}
