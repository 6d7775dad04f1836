// Package kube asks the API servers of one cluster.
//
// It reads, but for Scale, and retries nothing. Every question is bounded in time; what
// was not answered is an error, never a guess.
package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/understudy-dr/understudy/remedy"
)

// patience bounds one question.
const patience = 15 * time.Second

// largest is the most that one answer may cost us in memory.
const largest = 64 << 20

// API is the API server that a kubeconfig leads to.
type API struct {
	config *rest.Config
	client *http.Client
	base   *url.URL
}

// Open reads a kubeconfig, with its current context. It connects to nothing.
func Open(kubeconfig string) (*API, error) {
	wrong := func(err error) (*API, error) {
		return nil, &remedy.Error{Op: "read the kubeconfig", Err: err, Code: remedy.Usage,
			Remedy: "name a kubeconfig with a current context; try: kubectl --kubeconfig " + kubeconfig + " version"}
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return wrong(err)
	}
	a, err := OpenConfig(config)
	if err != nil {
		return wrong(err)
	}
	return a, nil
}

// OpenConfig is Open for an access that is at hand already.
func OpenConfig(config *rest.Config) (*API, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &API{config: config, client: client, base: base}, nil
}

// Address is the host and port that the kubeconfig names.
func (a *API) Address() string { return a.base.Host }

// At is the same API at another address, host:port. The certificate there is
// checked against the name that the kubeconfig has.
func (a *API) At(address string) (*API, error) {
	config := rest.CopyConfig(a.config)
	config.Host = "https://" + address
	if config.ServerName == "" && !config.Insecure {
		config.ServerName = a.base.Hostname() // the name that the certificate was checked against so far
	}
	return OpenConfig(config)
}

// get sends a GET for a path with its query. The caller closes the body.
func (a *API) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.base.String(), "/")+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, */*") // the key set has a type of its own
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		var status metav1.Status
		if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
			return nil, fmt.Errorf("GET %s: %w", path, &apierrors.StatusError{ErrStatus: status})
		}
		if resp.StatusCode == http.StatusNotFound { // not even the group is served
			status = metav1.Status{Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound, Message: resp.Status}
			return nil, fmt.Errorf("GET %s: %w", path, &apierrors.StatusError{ErrStatus: status})
		}
		return nil, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return resp, nil
}

// Raw is the answer to a GET for a path.
func (a *API) Raw(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := a.get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largest+1))
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if len(body) > largest {
		return nil, fmt.Errorf("GET %s: the answer is larger than %d bytes", path, largest)
	}
	return body, nil
}

// read decodes the answer to a GET for a path.
func (a *API) read(ctx context.Context, path string, into any) error {
	raw, err := a.Raw(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// servers are the addresses of the cluster's API servers, as they themselves
// enter them in the slice of the Service "kubernetes"; nil where they do not.
func (a *API) servers(ctx context.Context) ([]string, error) {
	var slice struct {
		Endpoints []struct {
			Addresses []string `json:"addresses"`
		} `json:"endpoints"`
		Ports []struct {
			Port int32 `json:"port"`
		} `json:"ports"`
	}
	err := a.read(ctx, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes", &slice)
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	var out []string
	for _, e := range slice.Endpoints {
		for _, p := range slice.Ports {
			for _, address := range e.Addresses {
				out = append(out, net.JoinHostPort(address, strconv.Itoa(int(p.Port))))
			}
		}
	}
	return out, nil
}
