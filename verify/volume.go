package verify

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/understudy-dr/understudy/registry"
)

// volume is what counts of a PersistentVolume that is bound to a claim.
type volume struct {
	key    string
	claim  corev1.ObjectReference
	retain bool
}

func (s *simulator) readVolume(_ registry.Key, o *record, plain []byte) error {
	var v corev1.PersistentVolume
	if err := decode(plain, &v); err != nil {
		return err
	}
	if c := v.Spec.ClaimRef; c != nil && c.UID != "" {
		retain := v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain
		s.volumes = append(s.volumes, volume{o.key, *c, retain})
	}
	return nil
}

// judgeVolumes finds what the controllers reclaim (pv_controller.go, syncVolume):
// volumes whose claim is not there, or is another one of that name.
func (s *simulator) judgeVolumes() {
	for _, v := range s.volumes {
		name := v.claim.Namespace + "/" + v.claim.Name
		i := s.find(s.clusterKey("persistentvolumeclaims", name))
		if v.retain || i >= 0 && !s.objects[i].doomed && (s.objects[i].kind == "" || s.objects[i].uid == string(v.claim.UID)) {
			continue
		}
		s.noteBy(VolumeReclaimed, Red, Info, &s.objects[s.find(v.key)], func() string { return fmt.Sprintf("its claim %s (uid %s) is not there", name, v.claim.UID) })
	}
}
