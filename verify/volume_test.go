package verify

import (
	"fmt"
	"testing"

	"github.com/understudy-dr/understudy/kv"
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

// The standby's own volume, whose own claim is out of scope and gone, is its own
// business: it blocks no promotion.
func TestSimulateOwnVolume(t *testing.T) {
	own := thing{key: "persistentvolumes/own", kind: "v1 PersistentVolume", uid: "v-own",
		body: `{"spec":{"persistentVolumeReclaimPolicy":"Delete","claimRef":{"kind":"PersistentVolumeClaim","namespace":"kube-system","name":"c","uid":"c"}}}`}
	compareFindings(t, []thing{prod, own}, nil, []string{"info own volume-reclaimed PersistentVolume own: its claim kube-system/c (uid c) is not there"})
}

// A volume goes with its claim. It has no owners, and none to take in.
func TestVolumeIsLeftOutWithItsClaim(t *testing.T) {
	found := newFindings(0)
	leftOut(found, newView(t, nil, nil), kv.Pair{Key: "/registry/persistentvolumes/v",
		Value: []byte(`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"v","uid":"u"},"spec":{"claimRef":{"namespace":"kube-system","name":"c","uid":"w"}}}`)})
	all := found.sorted()
	if len(all) != 1 || all[0].Problem != "claim-left-out" || all[0].Items[0].Object != "PersistentVolume v" || all[0].Items[0].Why != "its claim is out of scope" {
		t.Errorf("%+v", all)
	}
}
