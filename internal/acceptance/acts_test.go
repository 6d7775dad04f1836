package acceptance_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// putCase stores the objects of a file of testdata in an etcd, as an API server would: their
// keys stand in the annotation bars/key, which is no part of them.
func putCase(t *testing.T, etcd *testkit.Etcd, file string) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range bytes.Split(raw, []byte("\n---\n")) {
		var u unstructured.Unstructured
		if err := yaml.Unmarshal(document, &u.Object); err != nil {
			t.Fatal(err)
		}
		annotations := u.GetAnnotations()
		key := annotations["bars/key"]
		delete(annotations, "bars/key")
		u.SetAnnotations(annotations)
		value, err := u.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if typed, _, err := scheme.Codecs.UniversalDeserializer().Decode(value, nil, nil); err == nil {
			var out bytes.Buffer
			typed.GetObjectKind().SetGroupVersionKind(u.GroupVersionKind())
			if err := protobuf.NewSerializer(nil, nil).Encode(typed, &out); err != nil {
				t.Fatal(err)
			}
			value = out.Bytes()
		}
		if _, err := etcd.Client().Put(t.Context(), key, string(value)); err != nil {
			t.Fatal(err)
		}
	}
}

// What acts beside the cluster, or in front of its API server, is inert on the standby and still
// an object that the API server takes writes to; a release brings it back as the primary had it.
func TestWhatActsIsInertUntilItIsReleased(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	moscow, spb := testkit.StartEtcd(t), testkit.StartControlPlane(t, testkit.ControlPlaneOptions{})
	ctx, api := t.Context(), spb.Client()
	standby := newAPI(t, spb)
	putCase(t, moscow, "acts-unheld.yaml")
	putCase(t, moscow, "policy-without-parameter.yaml")
	p := newPair(t, side{Etcd: moscow}, side{Etcd: spb.Etcd()})
	p.must(t, 0, "sync", "--once")

	create := func(name string) (*corev1.ConfigMap, error) {
		return api.CoreV1().ConfigMaps("prod").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: []string{"All"}})
	}
	bucket := func() string {
		t.Helper()
		resp, err := spb.Etcd().Client().Get(ctx, "/registry/s3.example.com/buckets/assets")
		if err != nil || len(resp.Kvs) == 0 {
			t.Fatalf("the bucket is not there: %v", err)
		}
		return string(resp.Kvs[0].Value)
	}
	own := func(text string) {
		t.Helper()
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		standby.create(t, u)
	}
	// The policies are there, the API server has seen them, and they deny and change nothing.
	// One of the standby's own, which is newer, is followed: so the others have been read.
	own(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: own}, spec: {matchConstraints: {resourceRules:
  [{apiGroups: [""], apiVersions: ["v1"], operations: [CREATE], resources: [configmaps]}]}, validations: [{expression: "object.metadata.name != 'refused'"}]}}`)
	own(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: own}, spec: {policyName: own, validationActions: [Deny]}}`)
	testkit.Eventually(t, time.Minute, "the standby's own policy is in force", func() (bool, string) {
		_, err := create("refused")
		return err != nil && strings.Contains(err.Error(), "'own'"), fmt.Sprint(err)
	})
	for range 3 {
		made, err := create("some")
		if err != nil {
			t.Fatalf("a policy of the primary is in force on the standby: %v", err)
		}
		if made.Labels["stamped"] != "" {
			t.Error("a mutating policy of the primary is in force on the standby")
		}
	}

	// All of them take an ordinary update and one of the status.
	for _, name := range []string{"limits", "tiers"} {
		policy, err := api.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = api.AdmissionregistrationV1().ValidatingAdmissionPolicies().Update(ctx, policy, metav1.UpdateOptions{DryRun: []string{"All"}}); err != nil {
			t.Errorf("the held policy is not valid: %v", err)
		}
		binding, err := api.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = api.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Update(ctx, binding, metav1.UpdateOptions{DryRun: []string{"All"}}); err != nil {
			t.Errorf("the held binding is not valid: %v", err)
		}
	}
	if stamp, err := api.AdmissionregistrationV1().MutatingAdmissionPolicies().Get(ctx, "stamp", metav1.GetOptions{}); err != nil {
		t.Error(err)
	} else if _, err := api.AdmissionregistrationV1().MutatingAdmissionPolicies().Update(ctx, stamp, metav1.UpdateOptions{DryRun: []string{"All"}}); err != nil {
		t.Errorf("the held mutating policy is not valid: %v", err)
	}

	edge := func() *corev1.Service {
		t.Helper()
		s, err := api.CoreV1().Services("team-a").Get(ctx, "edge", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	held := edge()
	if class := held.Spec.LoadBalancerClass; class == nil || *class != "understudy.dev/held" || held.Spec.Type != corev1.ServiceTypeLoadBalancer || len(held.Finalizers)+len(held.Status.LoadBalancer.Ingress) > 0 {
		t.Errorf("the load balancer is not inert: %+v", held)
	}
	if _, err := api.CoreV1().Services("team-a").Update(ctx, held, metav1.UpdateOptions{DryRun: []string{"All"}}); err != nil {
		t.Errorf("the held Service is not valid: %v", err)
	}
	if _, err := api.CoreV1().Services("team-a").UpdateStatus(ctx, held, metav1.UpdateOptions{DryRun: []string{"All"}}); err != nil {
		t.Errorf("nor its status: %v", err)
	}
	if bucket := bucket(); !strings.Contains(bucket, `"crossplane.io/paused":"true"`) {
		t.Errorf("the bucket is not inert: %s", bucket)
	}

	p.must(t, 0, "hold", "release", "--yes", "--primary-is-alive")
	released := edge()
	if released.Spec.LoadBalancerClass != nil || len(released.Finalizers) != 1 || released.UID != held.UID {
		t.Errorf("released: %+v", released)
	}
	if bucket := bucket(); strings.Contains(bucket, "paused") {
		t.Errorf("the bucket is inert after its release: %s", bucket)
	}
	testkit.Eventually(t, time.Minute, "the primary's policies are in force after the release", func() (bool, string) {
		_, err := create("some")
		return err != nil && strings.Contains(err.Error(), "limits"), fmt.Sprint(err)
	})
}
