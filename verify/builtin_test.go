package verify

import (
	"strings"
	"testing"
)

func TestSimulateStoredVersionsOfBuiltIns(t *testing.T) {
	serves := func(group, version string) thing {
		return thing{key: "apiregistration.k8s.io/apiservices/" + version + "." + group, kind: "apiregistration.k8s.io/v1 APIService",
			body: `{"spec":{"group":"` + group + `","version":"` + version + `"}}`}
	}
	scaler := func(version string) thing {
		return thing{key: "horizontalpodautoscalers/prod/web", kind: "autoscaling/" + version + " HorizontalPodAutoscaler"}
	}
	dropped := []string{"red version-not-read HorizontalPodAutoscaler prod/web: stored as HorizontalPodAutoscaler of autoscaling/v2beta2: Kubernetes has dropped the version"}
	for name, tc := range map[string]struct {
		things []thing
		want   []string
	}{
		"served":                    {[]thing{scaler("v2")}, nil},
		"dropped":                   {[]thing{scaler("v2beta2"), serves("autoscaling", "v2")}, dropped},
		"dropped, no API server":    {[]thing{scaler("v2beta2")}, dropped},
		"an older one serves it":    {[]thing{scaler("v2beta2"), serves("autoscaling", "v2beta2")}, nil},
		"newer than the API server": {[]thing{scaler("v2"), serves("autoscaling", "v1"), serves("autoscaling", "v2beta2")}, []string{"red version-not-read HorizontalPodAutoscaler prod/web: stored as HorizontalPodAutoscaler of autoscaling/v2: the newest that the standby's API servers serve is v1"}},
		"not served, but read":      {[]thing{{key: "cronjobs/prod/nightly", kind: "batch/v1beta1 CronJob"}, serves("batch", "v1")}, nil},
		"of the group before":       {[]thing{{key: "deployments/prod/web", kind: "extensions/v1beta1 Deployment"}, serves("apps", "v1")}, nil},
		"what nobody serves":        {[]thing{{key: "podsecuritypolicy/p", kind: "policy/v1beta1 PodSecurityPolicy"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(simulateThings(t, nil, append(tc.things, prod)...).lines(), "\n"); got != strings.Join(tc.want, "\n") {
				t.Errorf("\n got %s\nwant %s", got, strings.Join(tc.want, "\n     "))
			}
		})
	}
}

func TestSimulateLoadBalancers(t *testing.T) {
	service := func(namespace, name, more string) thing {
		return thing{key: "services/specs/" + namespace + "/" + name, kind: "v1 Service", body: more}
	}
	kubeSystem := thing{key: "namespaces/kube-system", kind: "v1 Namespace"}
	own := service("kube-system", "lb", `{"spec":{"type":"LoadBalancer"},"status":{"loadBalancer":{"ingress":[{"ip":"10.1.1.1"}]}}}`)
	asks := service("prod", "app", `{"spec":{"type":"LoadBalancer","loadBalancerIP":"10.1.1.1"}}`)
	for name, tc := range map[string]struct {
		things []thing
		want   string
	}{
		"asked for":         {[]thing{kubeSystem, own, asks}, "red loadbalancer-collision Service prod/app: it asks for 10.1.1.1, which Service kube-system/lb of the standby's own has"},
		"by an annotation":  {[]thing{kubeSystem, own, service("prod", "app", `{"metadata":{"name":"app","namespace":"prod","annotations":{"metallb.io/loadBalancerIPs":"fd00::1, 10.1.1.1"}},"spec":{"type":"LoadBalancer"}}`)}, "red loadbalancer-collision Service prod/app: it asks for 10.1.1.1, which Service kube-system/lb of the standby's own has"},
		"had":               {[]thing{kubeSystem, own, service("prod", "app", `{"spec":{"type":"LoadBalancer"},"status":{"loadBalancer":{"ingress":[{"ip":"10.1.1.1"}]}}}`)}, "yellow loadbalancer-collision Service prod/app: on the primary it has 10.1.1.1, which Service kube-system/lb of the standby's own has"},
		"another":           {[]thing{kubeSystem, own, service("prod", "app", `{"spec":{"type":"LoadBalancer","loadBalancerIP":"10.1.1.2"}}`)}, ""},
		"shared by two":     {[]thing{asks, service("prod", "app2", `{"spec":{"type":"LoadBalancer","loadBalancerIP":"10.1.1.1"}}`)}, ""},
		"no balancer":       {[]thing{kubeSystem, own, service("prod", "app", `{"spec":{"type":"NodePort","loadBalancerIP":"10.1.1.1"}}`)}, ""},
		"for health checks": {[]thing{service("prod", "app", `{"spec":{"healthCheckNodePort":30099}}`), service("prod", "b", `{"spec":{"ports":[{"port":80,"protocol":"TCP","nodePort":30099}]}}`)}, "red nodeport-collision Service prod/app: TCP 30099 is that of Service prod/b as well\nred nodeport-collision Service prod/b: TCP 30099 is that of Service prod/app as well"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(simulateThings(t, nil, append(tc.things, prod)...).lines(), "\n"); got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestSimulateSchedulers(t *testing.T) {
	const pod = `{"schedulerName":"high-node-utilization"}`
	web := thing{key: "deployments/prod/web", kind: "apps/v1 Deployment", body: `{"spec":{"template":{"spec":` + pod + `}}}`}
	placed := thing{key: "pods/kube-system/p", kind: "v1 Pod", body: `{"spec":{"schedulerName":"high-node-utilization","nodeName":"n"}}`}
	waits := thing{key: "pods/kube-system/p", kind: "v1 Pod", body: `{"spec":` + pod + `}`}
	kubeSystem := thing{key: "namespaces/kube-system", kind: "v1 Namespace"}
	definition := thing{key: "apiextensions.k8s.io/customresourcedefinitions/kubeschedulerwebhookconfigurations.deckhouse.io", kind: "apiextensions.k8s.io/v1 CustomResourceDefinition",
		body: `{"spec":{"group":"deckhouse.io","scope":"Cluster","names":{"kind":"KubeSchedulerWebhookConfiguration","plural":"kubeschedulerwebhookconfigurations"},"versions":[{"name":"v1alpha1","served":true,"storage":true}]}}`}
	extender := func(policy string) thing {
		return thing{key: "deckhouse.io/kubeschedulerwebhookconfigurations/sds", kind: "deckhouse.io/v1alpha1 KubeSchedulerWebhookConfiguration",
			body: `{"webhooks":[{"failurePolicy":"` + policy + `","clientConfig":{"service":{"namespace":"d8-sds","name":"scheduler","port":8080,"path":"/scheduler"}}}]}`}
	}
	for name, tc := range map[string]struct {
		things []thing
		want   string
	}{
		"never seen":      {[]thing{web}, "yellow scheduler-unknown Deployment prod/web: spec.schedulerName high-node-utilization: it has placed no Pod of the standby's"},
		"seen":            {[]thing{kubeSystem, web, placed}, ""},
		"waited for":      {[]thing{kubeSystem, web, waits}, "yellow scheduler-unknown Deployment prod/web: spec.schedulerName high-node-utilization: it has placed no Pod of the standby's"},
		"the default one": {[]thing{with(web, func(o *thing) { o.body = `{"spec":{"template":{"spec":{"schedulerName":"default-scheduler"}}}}` })}, ""},
		"by a CronJob": {[]thing{{key: "cronjobs/prod/n", kind: "batch/v1 CronJob", body: `{"spec":{"jobTemplate":{"spec":{"template":{"spec":` + pod + `}}}}}`}},
			"yellow scheduler-unknown CronJob prod/n: spec.schedulerName high-node-utilization: it has placed no Pod of the standby's"},
		"an extender without a backend": {[]thing{definition, extender("Fail")},
			"red scheduler-webhook-without-backend KubeSchedulerWebhookConfiguration sds: Service d8-sds/scheduler is not there; the scheduler places no Pod then"},
		"an extender that may be missing": {[]thing{definition, extender("Ignore")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(simulateThings(t, nil, append(tc.things, prod)...).lines(), "\n"); got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}
