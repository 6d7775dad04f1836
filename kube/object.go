package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
)

// Object is an object as the API server gives it, as JSON, in the version of the
// API that apiVersion names, whatever version it is stored in. revision is that of
// the etcd at which it was written. False: it is not there, or that version is not
// served.
func (a *API) Object(ctx context.Context, key registry.Key, apiVersion string) (object []byte, revision kv.Revision, ok bool, err error) {
	path, err := objectPath(key, apiVersion)
	if err != nil {
		return nil, 0, false, err
	}
	raw, err := a.Raw(ctx, path)
	if apierrors.IsNotFound(err) {
		return nil, 0, false, nil
	}
	if err != nil {
		return nil, 0, false, err
	}
	var of struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &of); err != nil {
		return nil, 0, false, fmt.Errorf("GET %s: %w", path, err)
	}
	at, err := strconv.ParseInt(of.Metadata.ResourceVersion, 10, 64)
	if err != nil {
		return nil, 0, false, fmt.Errorf("GET %s: resourceVersion: %w", path, err)
	}
	return raw, kv.Revision(at), true, nil
}

// Merge lays a merge patch (RFC 7386) over an object, if nobody has written it since
// the revision of the etcd that is given and it has that UID; else the error is a
// conflict (apierrors.IsConflict).
func (a *API) Merge(ctx context.Context, key registry.Key, apiVersion, uid string, since kv.Revision, patch map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	path, err := objectPath(key, apiVersion)
	if err != nil {
		return err
	}
	metadata, _ := patch["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["uid"], metadata["resourceVersion"] = uid, strconv.FormatInt(int64(since), 10)
	patch["metadata"] = metadata
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = a.patch(ctx, path, body)
	return err
}

func objectPath(key registry.Key, apiVersion string) (string, error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return "", err
	}
	path := "/apis/" + url.PathEscape(gv.Group) + "/" + url.PathEscape(gv.Version)
	if gv.Group == "" {
		path = "/api/" + url.PathEscape(gv.Version)
	}
	if key.Namespace != "" {
		path += "/namespaces/" + url.PathEscape(key.Namespace)
	}
	return path + "/" + url.PathEscape(key.Resource) + "/" + url.PathEscape(key.Name), nil
}
