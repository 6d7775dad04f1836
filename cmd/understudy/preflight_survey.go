package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/console"
	"github.com/understudy-dr/understudy/registry"
)

// survey is what the objects of one etcd say about its cluster, gathered while
// all keys are read anyway: it needs no API server and no further permission.
// Only the little that is asked for is kept.
type survey struct {
	equal []string // Secrets whose digests are wanted

	nodes       []console.NodeFacts
	rootCA      string // digest
	platform    map[string]string
	workloads   []console.WorkloadFacts
	credentials map[string]pullSecret // by namespace/name
	accounts    map[string][]string   // pull Secrets of each ServiceAccount, both as namespace/name
	digests     map[string]string     // of equal
	inScope     map[string]int64      // objects in scope, by resource
	grants      grants
	blind       map[string]error // why an object could not be read, by resource
}

func newSurvey(equal []string) *survey {
	return &survey{equal: equal, platform: map[string]string{}, credentials: map[string]pullSecret{}, accounts: map[string][]string{},
		digests: map[string]string{}, inScope: map[string]int64{}, grants: newGrants(), blind: map[string]error{}}
}

// surveyed says what is done with the objects of a resource.
var surveyed = map[string]func(s *survey, k registry.Key, in bool, fields registry.Fields) error{
	"nodes":             (*survey).seeNode,
	"configmaps":        (*survey).seeConfigMap,
	"secrets":           (*survey).seeSecret,
	"serviceaccounts":   (*survey).seeAccount,
	"deployments.apps":  (*survey).seeWorkload,
	"statefulsets.apps": (*survey).seeWorkload,
	"daemonsets.apps":   (*survey).seeWorkload,
	"jobs.batch":        (*survey).seeWorkload,
	"cronjobs.batch":    (*survey).seeWorkload,

	"roles.rbac.authorization.k8s.io":               (*survey).seeRole,
	"clusterroles.rbac.authorization.k8s.io":        (*survey).seeRole,
	"rolebindings.rbac.authorization.k8s.io":        (*survey).seeBinding,
	"clusterrolebindings.rbac.authorization.k8s.io": (*survey).seeBinding,
}

// see takes in one object; plain gives its value in clear.
func (s *survey) see(k registry.Key, in bool, plain func() ([]byte, error)) {
	resource := k.GroupResource()
	if in {
		s.inScope[resource]++
	}
	look := surveyed[resource]
	mark, isMark := platformMarks[k.String()]
	switch {
	case look == nil && !isMark:
		return
	case resource == "configmaps" && (k.Namespace != "kube-system" || k.Name != rootCAName):
		return
	case s.blind[resource] != nil:
		return // one that cannot be read tells of the others
	}
	value, err := plain()
	var fields registry.Fields
	if err == nil {
		fields, err = registry.ReadFields(value)
	}
	if err == nil && look != nil {
		err = look(s, k, in, fields)
	}
	if err == nil && isMark {
		s.seePlatform(mark, fields)
	}
	if err != nil {
		s.blind[resource] = fmt.Errorf("%s %s: %w", registry.Kind(resource), k, err)
	}
}

// into decodes the few fields that are wanted of an object.
func into(fields registry.Fields, v any) error {
	raw, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

func (s *survey) seeNode(k registry.Key, _ bool, fields registry.Fields) error {
	var node struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Status struct {
			Addresses []struct {
				Address string `json:"address"`
			} `json:"addresses"`
			NodeInfo struct {
				Architecture string `json:"architecture"`
			} `json:"nodeInfo"`
		} `json:"status"`
	}
	if err := into(fields, &node); err != nil {
		return err
	}
	labels := node.Metadata.Labels
	_, control := labels["node-role.kubernetes.io/control-plane"]
	_, master := labels["node-role.kubernetes.io/master"]
	one := console.NodeFacts{Name: k.Name, ControlPlane: control || master, Arch: cmp.Or(labels["kubernetes.io/arch"], node.Status.NodeInfo.Architecture)}
	for _, a := range node.Status.Addresses {
		one.Addresses = append(one.Addresses, a.Address)
	}
	s.nodes = append(s.nodes, one)
	return nil
}

// rootCAName is what the controller manager publishes the cluster's CA as.
const rootCAName = "kube-root-ca.crt"

func (s *survey) seeConfigMap(_ registry.Key, _ bool, fields registry.Fields) error {
	var m struct {
		Data map[string]string `json:"data"`
	}
	if err := into(fields, &m); err != nil {
		return err
	}
	if ca := strings.TrimSpace(m.Data["ca.crt"]); ca != "" {
		s.rootCA = digest(ca)
	}
	return nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

func (s *survey) seeSecret(k registry.Key, _ bool, fields registry.Fields) error {
	name := k.Namespace + "/" + k.Name
	if slices.Contains(s.equal, name) {
		data, err := json.Marshal(fields["data"]) // sorted by name
		if err != nil {
			return err
		}
		s.digests[name] = digest(string(data))
	}
	if fields["type"] != "kubernetes.io/dockerconfigjson" {
		return nil
	}
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	if err := into(fields, &secret); err != nil {
		return err
	}
	s.credentials[name] = readPullSecret(secret.Data[".dockerconfigjson"])
	return nil
}

func (s *survey) seeAccount(k registry.Key, _ bool, fields registry.Fields) error {
	var account struct {
		Secrets []struct {
			Name string `json:"name"`
		} `json:"imagePullSecrets"`
	}
	if err := into(fields, &account); err != nil {
		return err
	}
	for _, secret := range account.Secrets {
		name := k.Namespace + "/" + k.Name
		s.accounts[name] = append(s.accounts[name], k.Namespace+"/"+secret.Name)
	}
	return nil
}

// ofSide says what was found out; err is why the side could not be read.
func (s *survey) ofSide(side *console.PreflightSide, err error) {
	side.Nodes = surveyOf(s, err, s.nodes, "nodes")
	side.RootCA = surveyOf(s, err, s.rootCA, "configmaps")
	if side.RootCA.Known && s.rootCA == "" {
		side.RootCA = console.NotFound[string]("it has no ConfigMap kube-system/" + rootCAName)
	}
	side.Platform = surveyOf(s, err, s.platform, slices.Collect(maps.Values(platformResources()))...)
	side.Workloads = surveyOf(s, err, s.workloads, "deployments.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch", "cronjobs.batch")
	side.Writers = surveyOf(s, err, s.grants.writers(), "roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io",
		"rolebindings.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io")
	side.InScope = surveyOf(s, err, s.inScope)
	side.Secrets = surveyOf(s, err, s.digests, "secrets")
	credentials := map[string][]console.Credential{}
	for name, secret := range s.credentials {
		credentials[name] = secret.facts()
	}
	side.Credentials = surveyOf(s, err, credentials, "secrets")
}

func surveyOf[T any](s *survey, err error, value T, resources ...string) console.Found[T] {
	for _, resource := range resources {
		err = cmp.Or(err, s.blind[resource])
	}
	return console.FoundIf(value, err)
}
