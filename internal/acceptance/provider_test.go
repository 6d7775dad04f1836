package acceptance_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/understudy-dr/understudy/internal/testkit"
)

// cloud is where the virtual machines are. Both sites reach the same one.
type cloud struct {
	mu       sync.Mutex
	machines map[types.UID]string // by the UID of their infrastructure object
	acts     map[string][]string  // of each site's provider
}

func newCloud() *cloud { return &cloud{machines: map[types.UID]string{}, acts: map[string][]string{}} }

func (c *cloud) create(site string, m *unstructured.Unstructured) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.machines[m.GetUID()]; !there {
		c.machines[m.GetUID()] = m.GetName()
		c.acts[site] = append(c.acts[site], "create "+m.GetName())
	}
}

func (c *cloud) delete(site string, m *unstructured.Unstructured) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.machines[m.GetUID()]; there {
		delete(c.machines, m.GetUID())
		c.acts[site] = append(c.acts[site], "delete "+m.GetName())
	}
}

func (c *cloud) note(site, act string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acts[site] = append(c.acts[site], act)
}

// of lists all that a site's provider has done so far.
func (c *cloud) of(site string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.acts[site])
}

// has reports whether the virtual machines are those of these objects.
func (c *cloud) has(objects map[types.UID]string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(objects) != len(c.machines) {
		return false
	}
	for uid := range objects {
		if c.machines[uid] == "" {
			return false
		}
	}
	return true
}

// provider is an infrastructure provider, as small as the contract of Cluster
// API allows. It creates a virtual machine for every Machine that it sees new,
// and deletes that of every Machine that it sees being deleted or gone, unless
// the Cluster or the object is paused.
type provider struct {
	site      string
	cloud     *cloud
	client    dynamic.Interface
	informers map[schema.GroupVersionResource]cache.SharedIndexInformer
	queue     workqueue.TypedRateLimitingInterface[task]

	mu         sync.Mutex
	reconciled map[types.UID]string // machines that were not paused, and were looked at
}

// task is an object to look at.
type task struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

const byCluster = "cluster"

// startProvider runs a provider until stop is called, or the test ends.
func startProvider(t *testing.T, site string, c *testkit.ControlPlane, cloud *cloud) (p *provider, stop func()) {
	t.Helper()
	p = &provider{site: site, cloud: cloud, client: c.Dynamic(), reconciled: map[types.UID]string{},
		informers: map[schema.GroupVersionResource]cache.SharedIndexInformer{},
		queue:     workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[task]())}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	factory := dynamicinformer.NewDynamicSharedInformerFactory(p.client, 0)
	for _, r := range []schema.GroupVersionResource{clusters, capiMachines, infraClusters, infraMachines} {
		informer := factory.ForResource(r).Informer()
		err := informer.AddIndexers(cache.Indexers{byCluster: func(o any) ([]string, error) {
			u := o.(*unstructured.Unstructured)
			return []string{u.GetNamespace() + "/" + u.GetLabels()[clusterName]}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		p.informers[r] = informer
	}
	for r, informer := range p.informers {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { p.seen(r, o.(*unstructured.Unstructured)) },
			UpdateFunc: func(_, o any) { p.seen(r, o.(*unstructured.Unstructured)) },
			DeleteFunc: func(o any) {
				if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				p.gone(r, o.(*unstructured.Unstructured))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(t.Context().Done())
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for {
				next, ended := p.queue.Get()
				if ended {
					return
				}
				if p.reconcile(ctx, next) == nil {
					p.queue.Forget(next)
				} else {
					p.queue.AddRateLimited(next)
				}
				p.queue.Done(next)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); p.queue.ShutDown(); workers.Wait(); factory.Shutdown() })
	t.Cleanup(stop)
	return p, stop
}

// seen queues the infrastructure objects that an event may be about.
func (p *provider) seen(r schema.GroupVersionResource, u *unstructured.Unstructured) {
	switch r {
	case infraClusters, infraMachines:
		p.queue.Add(task{r, u.GetNamespace(), u.GetName()})
	case capiMachines:
		name, _, _ := unstructured.NestedString(u.Object, "spec", "infrastructureRef", "name")
		p.queue.Add(task{infraMachines, u.GetNamespace(), name})
	case clusters:
		name, _, _ := unstructured.NestedString(u.Object, "spec", "infrastructureRef", "name")
		p.queue.Add(task{infraClusters, u.GetNamespace(), name})
		members, err := p.informers[infraMachines].GetIndexer().ByIndex(byCluster, u.GetNamespace()+"/"+u.GetName())
		if err != nil {
			p.cloud.note(p.site, err.Error())
		}
		for _, m := range members {
			p.queue.Add(task{infraMachines, u.GetNamespace(), m.(*unstructured.Unstructured).GetName()})
		}
	}
}

// gone deletes the virtual machine of an object that has left without waiting.
func (p *provider) gone(r schema.GroupVersionResource, u *unstructured.Unstructured) {
	if r == infraMachines && !p.paused(u) {
		p.cloud.delete(p.site, u)
	}
}

// paused reports whether u is not to be acted upon: it is paused, its Cluster
// is, or there is no Cluster.
func (p *provider) paused(u *unstructured.Unstructured) bool {
	const annotation = "cluster.x-k8s.io/paused"
	o, exists, err := p.informers[clusters].GetStore().GetByKey(u.GetNamespace() + "/" + u.GetLabels()[clusterName])
	if _, marked := u.GetAnnotations()[annotation]; marked || !exists || err != nil {
		return true
	}
	cluster := o.(*unstructured.Unstructured)
	paused, _, _ := unstructured.NestedBool(cluster.Object, "spec", "paused")
	_, marked := cluster.GetAnnotations()[annotation]
	return paused || marked
}

func (p *provider) reconcile(ctx context.Context, t task) error {
	o, exists, err := p.informers[t.resource].GetStore().GetByKey(t.namespace + "/" + t.name)
	if !exists || err != nil {
		return err
	}
	u := o.(*unstructured.Unstructured).DeepCopy()
	if p.paused(u) || len(u.GetOwnerReferences()) == 0 {
		return nil
	}
	if t.resource == infraClusters {
		return p.reconcileCluster(ctx, u)
	}
	if u.GetDeletionTimestamp() != nil || ofMachine(u) {
		p.mu.Lock()
		p.reconciled[u.GetUID()] = u.GetName()
		p.mu.Unlock()
	}
	return p.reconcileMachine(ctx, u)
}

const providerFinalizer = "provider.example.com/virtual-machine"

func (p *provider) reconcileMachine(ctx context.Context, m *unstructured.Unstructured) error {
	finalizers := m.GetFinalizers()
	marked := slices.Contains(finalizers, providerFinalizer)
	if m.GetDeletionTimestamp() != nil {
		p.cloud.delete(p.site, m)
		if !marked {
			return nil
		}
		m.SetFinalizers(slices.DeleteFunc(finalizers, func(f string) bool { return f == providerFinalizer }))
		return p.update(ctx, infraMachines, m)
	}
	if !ofMachine(m) {
		return nil
	}
	if !marked {
		m.SetFinalizers(append(finalizers, providerFinalizer))
		return p.update(ctx, infraMachines, m)
	}
	p.cloud.create(p.site, m)
	if id, _, _ := unstructured.NestedString(m.Object, "spec", "providerID"); id != "" {
		return nil
	}
	_ = unstructured.SetNestedField(m.Object, "test://"+string(m.GetUID()), "spec", "providerID")
	_ = unstructured.SetNestedField(m.Object, true, "status", "initialization", "provisioned")
	return p.update(ctx, infraMachines, m)
}

// ofMachine reports whether a Machine has taken the object over from the
// MachineSet. Under load a MachineSet sometimes makes one for a Machine that it
// then cannot make, and leaves it lying.
func ofMachine(m *unstructured.Unstructured) bool {
	owner := metav1.GetControllerOf(m)
	return owner != nil && owner.Kind == "Machine"
}

func (p *provider) reconcileCluster(ctx context.Context, c *unstructured.Unstructured) error {
	if provisioned, _, _ := unstructured.NestedBool(c.Object, "status", "initialization", "provisioned"); provisioned || c.GetDeletionTimestamp() != nil {
		return nil
	}
	endpoint := map[string]any{"host": c.GetName() + ".invalid", "port": int64(6443)}
	_ = unstructured.SetNestedMap(c.Object, endpoint, "spec", "controlPlaneEndpoint")
	_ = unstructured.SetNestedField(c.Object, true, "status", "initialization", "provisioned")
	return p.update(ctx, infraClusters, c)
}

func (p *provider) update(ctx context.Context, r schema.GroupVersionResource, u *unstructured.Unstructured) error {
	_, err := p.client.Resource(r).Namespace(u.GetNamespace()).Update(ctx, u, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		p.cloud.note(p.site, fmt.Sprintf("update %s %s", r.Resource, u.GetName()))
	}
	return err
}

// looked are the machines that were not paused when the provider came to them.
func (p *provider) looked() map[types.UID]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[types.UID]string, len(p.reconciled))
	for uid, name := range p.reconciled {
		out[uid] = name
	}
	return out
}
