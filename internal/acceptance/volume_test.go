package acceptance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// The standby's controllers reclaim no volume of the primary, whose data both see:
// one whose claim is out of scope stays away, and one whose claim somebody deletes
// on the standby is retained there, whatever the primary's policy.
func TestStandbyReclaimsNoVolume(t *testing.T) {
	moscow, spb, _ := controlPlanes(t)
	data := map[string]string{}
	none, size := "", corev1.ResourceList{"storage": resource.MustParse("1Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	for name, namespace := range map[string]string{"inside": ours, "outside": "kube-public"} {
		dir, err := os.MkdirTemp("/tmp", "volume-") // the controller deletes host paths below /tmp only
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		data[name] = filepath.Join(dir, "precious")
		if err := os.WriteFile(data[name], []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: modes, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}}}
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: modes, StorageClassName: &none, VolumeName: name, Resources: corev1.VolumeResourceRequirements{Requests: size}}}
		if _, err := moscow.Client().CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := moscow.Client().CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		phase(t, moscow, name, corev1.VolumeBound)
	}
	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()})
	daemon := p.sync(t)
	p.reaches(t, 1)
	phase(t, spb, "inside", corev1.VolumeBound)
	testkit.Eventually(t, time.Minute, "the claim to be bound on the standby", func() (bool, string) {
		c, err := spb.Client().CoreV1().PersistentVolumeClaims(ours).Get(t.Context(), "inside", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return c.Status.Phase == corev1.ClaimBound && len(c.Status.Capacity) > 0, string(c.Status.Phase)
	})
	p.consistent(t, 3)
	if _, err := spb.Client().CoreV1().PersistentVolumes().Get(t.Context(), "outside", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the volume whose claim is out of scope: %v", err)
	}

	daemon.Kill() // or the guard would put the claim back
	claims := spb.Client().CoreV1().PersistentVolumeClaims(ours)
	if err := claims.Delete(t.Context(), "inside", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	phase(t, spb, "inside", corev1.VolumeReleased)
	holdsFor(t, 5*time.Second, "the data is there", func() (bool, string) {
		for _, path := range data {
			if _, err := os.Stat(path); err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
}

func phase(t *testing.T, in *testkit.ControlPlane, name string, want corev1.PersistentVolumePhase) {
	t.Helper()
	testkit.Eventually(t, time.Minute, "volume "+name+" to be "+string(want), func() (bool, string) {
		v, err := in.Client().CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return v.Status.Phase == want, string(v.Status.Phase)
	})
}

// A free volume of the primary goes to no claim of the standby's own, and to the
// primary's once that has it.
func TestStandbyClaimsNoVolume(t *testing.T) {
	moscow, spb, _ := controlPlanes(t)
	none, size := "", corev1.ResourceList{"storage": resource.MustParse("1Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	create := func(in *testkit.ControlPlane, namespace, name string) {
		t.Helper()
		if _, err := in.Client().CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: modes, StorageClassName: &none, Resources: corev1.VolumeResourceRequirements{Requests: size}}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := moscow.Client().CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "export"}, Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: modes, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "filer", Path: "/export"}}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	phase(t, moscow, "export", corev1.VolumeAvailable)
	create(spb, "kube-public", "own")

	p := newPair(t, side{Etcd: moscow.Etcd()}, side{Etcd: spb.Etcd()})
	p.sync(t)
	p.reaches(t, 1)
	unclaimed := func() (bool, string) {
		own, err := spb.Client().CoreV1().PersistentVolumeClaims("kube-public").Get(t.Context(), "own", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return own.Spec.VolumeName == "" && own.Status.Phase == corev1.ClaimPending, fmt.Sprintf("%s, %q", own.Status.Phase, own.Spec.VolumeName)
	}
	holdsFor(t, 20*time.Second, "the standby's own claim is pending", unclaimed) // the controller looks every 15 s
	create(moscow, ours, "theirs")
	phase(t, moscow, "export", corev1.VolumeBound)
	phase(t, spb, "export", corev1.VolumeBound)
	testkit.Eventually(t, time.Minute, "the primary's claim to be bound on the standby", func() (bool, string) {
		c, err := spb.Client().CoreV1().PersistentVolumeClaims(ours).Get(t.Context(), "theirs", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return c.Status.Phase == corev1.ClaimBound && len(c.Status.Capacity) > 0, string(c.Status.Phase)
	})
	if ok, what := unclaimed(); !ok {
		t.Errorf("the standby's own claim: %s", what)
	}
	p.consistent(t, 3)
}
