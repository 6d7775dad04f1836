package kube

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/understudy-dr/understudy/kv"
)

// Answer is what an API server says to a client that has followed another
// cluster's resourceVersion.
type Answer string

// The answers.
const (
	// Expired: 410 for every resource asked, so such a client lists anew.
	Expired Answer = "expired"
	// Accepted: a watch was accepted, so such a client misses events or hangs.
	Accepted Answer = "accepted"
	// Unasked: nobody knows.
	Unasked Answer = "not checked"
)

// Server is one API server's answer.
type Server struct {
	Address  string `json:"address"`
	Answer   Answer `json:"answer"`
	Resource string `json:"resource,omitempty"` // the one whose watch was accepted
	Error    string `json:"error,omitempty"`    // why it was not checked
}

// probed are the resources whose watches are tried. A busy resource may have
// forgotten its old events and answer 410 even where the API server was not
// restarted; among these there are always quiet ones.
var probed = []string{
	"/api/v1/namespaces", "/api/v1/configmaps", "/api/v1/secrets", "/api/v1/serviceaccounts",
	"/apis/apps/v1/deployments", "/apis/scheduling.k8s.io/v1/priorityclasses", "/apis/storage.k8s.io/v1/storageclasses",
	"/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}

// watchFor is how long an API server shall keep a probing watch open, in
// seconds. A refusal comes at once.
const watchFor = 2

// AskFloor tries at each of the cluster's API servers what a client meets that
// comes with the resourceVersion at. Where they do not enter themselves in the
// Service "kubernetes", the one is asked that the kubeconfig leads to.
func (a *API) AskFloor(ctx context.Context, at kv.Revision) ([]Server, error) {
	addresses, err := a.servers(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the API servers: %w", err)
	}
	if len(addresses) == 0 {
		return []Server{a.askFloor(ctx, at)}, nil
	}
	out := make([]Server, len(addresses))
	var done sync.WaitGroup
	for i, address := range addresses {
		done.Go(func() {
			one, err := a.At(address)
			if err != nil {
				out[i] = Server{Address: address, Answer: Unasked, Error: err.Error()}
				return
			}
			defer one.client.CloseIdleConnections()
			out[i] = one.askFloor(ctx, at)
		})
	}
	done.Wait()
	slices.SortFunc(out, func(a, b Server) int { return strings.Compare(a.Address, b.Address) })
	return out, nil
}

func (a *API) askFloor(ctx context.Context, at kv.Revision) Server {
	type result struct {
		resource string
		expired  bool
		err      error
	}
	results := make(chan result, len(probed))
	for _, resource := range probed {
		go func() {
			expired, err := a.expired(ctx, resource, at)
			results <- result{resource, expired, err}
		}()
	}
	s := Server{Address: a.Address(), Answer: Expired}
	for range probed {
		r := <-results
		name := r.resource[strings.LastIndex(r.resource, "/")+1:]
		switch {
		case r.err != nil && s.Answer != Accepted:
			s.Answer, s.Error = Unasked, r.err.Error()
		case r.err == nil && !r.expired:
			s = Server{Address: s.Address, Answer: Accepted, Resource: name}
		}
	}
	return s
}

// expired tells whether a watch of a resource from a revision is refused with 410.
func (a *API) expired(ctx context.Context, resource string, at kv.Revision) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := a.get(ctx, fmt.Sprintf("%s?watch=true&resourceVersion=%d&timeoutSeconds=%d", resource, at, watchFor))
	if err != nil {
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return true, nil
		}
		return false, err
	}
	defer resp.Body.Close()
	var event struct {
		Type   string        `json:"type"`
		Object metav1.Status `json:"object"`
	}
	err = json.NewDecoder(bufio.NewReader(resp.Body)).Decode(&event)
	switch {
	case errors.Is(err, io.EOF): // the time was up and nothing came: accepted
		return false, nil
	case err != nil:
		return false, fmt.Errorf("watch %s: %w", resource, err)
	case event.Type == "ERROR" && event.Object.Code == http.StatusGone:
		return true, nil
	case event.Type == "ERROR":
		return false, fmt.Errorf("watch %s: %s", resource, event.Object.Message)
	}
	return false, nil
}
