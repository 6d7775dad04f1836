package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestControllerManagerActsOnObjects(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	c := StartControlPlane(t, ControlPlaneOptions{ControllerManager: true})
	labels := map[string]string{"app": "web"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
			},
		},
	}
	created, err := c.Client().AppsV1().Deployments("default").Create(t.Context(), deployment, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	replicaSets := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	Eventually(t, 30*time.Second, "the ReplicaSet", func() (bool, string) {
		list, err := c.Dynamic().Resource(replicaSets).Namespace("default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, item := range list.Items {
			if owners := item.GetOwnerReferences(); len(owners) == 1 && owners[0].UID == created.UID {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d ReplicaSets, none owned by the Deployment", len(list.Items))
	})
	c.StopControllerManager()
	c.StartControllerManager()
	if c.RSS() == 0 {
		t.Fatal("no memory in use")
	}
}

func TestEncryptedSecretSurvivesARestart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	config := filepath.Join(t.TempDir(), "encryption.yaml")
	const text = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aesgcm: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZg==}]}
  - identity: {}
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := StartControlPlane(t, ControlPlaneOptions{EncryptionConfig: config, EtcdOptions: []EtcdOption{TLS()}})
	secrets := c.Client().CoreV1().Secrets("default")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"a": "b"}}
	if _, err := secrets.Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stored := get(t, c.Etcd().Client(), "/registry/secrets/default/s")
	if !strings.HasPrefix(stored, "k8s:enc:aesgcm:v1:key1:") {
		t.Fatalf("stored as %.40q", stored)
	}
	c.RestartAPIServer()
	read, err := secrets.Get(t.Context(), "s", metav1.GetOptions{})
	if err != nil || string(read.Data["a"]) != "b" {
		t.Fatalf("read back %v, %v", read, err)
	}
}
