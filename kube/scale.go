package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Deployment is how many Pods a Deployment shall have.
type Deployment struct {
	Namespace, Name, UID string
	Replicas             int32
	version              string // resourceVersion
}

// Deployments lists those of a namespace with a label selector, "" = all.
func (a *API) Deployments(ctx context.Context, namespace, selector string) ([]Deployment, error) {
	var list struct {
		Items []deployment `json:"items"`
	}
	path := "/apis/apps/v1/namespaces/" + url.PathEscape(namespace) + "/deployments"
	if selector != "" {
		path += "?labelSelector=" + url.QueryEscape(selector)
	}
	if err := a.read(ctx, path, &list); err != nil {
		return nil, err
	}
	out := make([]Deployment, len(list.Items))
	for i, d := range list.Items {
		out[i] = d.short()
	}
	return out, nil
}

// Deployment is one of them; false where it does not exist.
func (a *API) Deployment(ctx context.Context, namespace, name string) (Deployment, bool, error) {
	var d deployment
	err := a.read(ctx, deploymentPath(namespace, name), &d)
	if apierrors.IsNotFound(err) {
		return Deployment{}, false, nil
	}
	return d.short(), err == nil, err
}

// Scale gives a Deployment another number of Pods, if nobody has changed it
// since it was read; else the error is a conflict (apierrors.IsConflict). It
// returns the Deployment as it is then.
func (a *API) Scale(ctx context.Context, d Deployment, replicas int32) (Deployment, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": d.version}, "spec": map[string]any{"replicas": replicas}})
	if err != nil {
		return d, err
	}
	path := deploymentPath(d.Namespace, d.Name)
	answer, err := a.patch(ctx, path, body)
	if err != nil {
		return d, err
	}
	var now deployment
	if err := json.Unmarshal(answer, &now); err != nil {
		return d, fmt.Errorf("PATCH %s: %w", path, err)
	}
	return now.short(), nil
}

// patch lays a merge patch over an object, and gives the object as it is then.
func (a *API) patch(ctx context.Context, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, strings.TrimSuffix(a.base.String(), "/")+path+"?fieldManager=understudy", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/merge-patch+json")
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, largest))
	if err != nil {
		return nil, fmt.Errorf("PATCH %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		var status metav1.Status
		if json.Unmarshal(answer, &status) == nil && status.Kind == "Status" {
			return nil, fmt.Errorf("PATCH %s: %w", path, &apierrors.StatusError{ErrStatus: status})
		}
		return nil, fmt.Errorf("PATCH %s: %s", path, resp.Status)
	}
	return answer, nil
}

func deploymentPath(namespace, name string) string {
	return "/apis/apps/v1/namespaces/" + url.PathEscape(namespace) + "/deployments/" + url.PathEscape(name)
}

// deployment is the little of one that is of interest here.
type deployment struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Replicas *int32 `json:"replicas"`
	} `json:"spec"`
}

func (d deployment) short() Deployment {
	out := Deployment{Namespace: d.Metadata.Namespace, Name: d.Metadata.Name, UID: string(d.Metadata.UID), Replicas: 1, version: d.Metadata.ResourceVersion}
	if d.Spec.Replicas != nil {
		out.Replicas = *d.Spec.Replicas
	}
	return out
}
