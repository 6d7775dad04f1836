package registry

import "k8s.io/apimachinery/pkg/runtime/schema"

// Readable reports whether an API server of the Kubernetes that this module is
// made for reads a built-in object that is stored in a version. It reads every
// version that k8s.io/api has, served or not, also of another group (a
// Deployment of extensions/v1beta1 as apps/v1); measured by
// TestWhatAPIServersRead in package verify.
func Readable(apiVersion, kind string) bool {
	gv, err := schema.ParseGroupVersion(apiVersion)
	return err == nil && scheme.Recognizes(gv.WithKind(kind))
}
