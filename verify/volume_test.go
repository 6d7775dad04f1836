package verify

import (
	"fmt"
	"testing"
)

// The controllers reclaim a volume whose claim is gone, and what is stored in it.
func TestSimulateVolumes(t *testing.T) {
	volume := func(name, policy, claimUID string) thing {
		return thing{key: "persistentvolumes/" + name, kind: "v1 PersistentVolume", uid: "v-" + name,
			body: fmt.Sprintf(`{"spec":{"persistentVolumeReclaimPolicy":%q,"claimRef":{"kind":"PersistentVolumeClaim","namespace":"prod","name":%q,"uid":%q}}}`, policy, name, claimUID)}
	}
	claim := func(name string) thing {
		return thing{key: "persistentvolumeclaims/prod/" + name, kind: "v1 PersistentVolumeClaim", uid: "c-" + name}
	}
	unbound := thing{key: "persistentvolumes/free", kind: "v1 PersistentVolume", uid: "v-free", body: `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`}
	compareFindings(t, []thing{prod, unbound, claim("there"), volume("there", "Delete", "c-there"), volume("retained", "Retain", "c-retained")}, nil, []string{})
	compareFindings(t, []thing{prod, claim("other"), volume("gone", "Delete", "c-gone"), volume("other", "Delete", "c-before")}, nil, []string{
		"red volume-reclaimed PersistentVolume gone: its claim prod/gone (uid c-gone) is not there",
		"red volume-reclaimed PersistentVolume other: its claim prod/other (uid c-before) is not there",
	})
}
