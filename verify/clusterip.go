package verify

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/understudy-dr/understudy/registry"
)

// address is something that only one Service of a cluster may have.
type address struct {
	service *service
	problem Problem
	what    string     // "10.96.0.10" or "TCP 30080"
	ip      netip.Addr // of a cluster IP
}

// ranges are the Service addresses that the standby hands out.
type ranges struct {
	cidrs     []netip.Prefix    // of its ServiceCIDRs
	allocator []netip.Prefix    // of the older allocator, where it has none
	owners    map[string]parent // by address: what its IPAddresses say
}

// parent is the Service that an IPAddress was allocated to.
type parent struct{ resource, name string }

func (s *simulator) readAddresses(svc *service, spec corev1.ServiceSpec) {
	ips := spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{spec.ClusterIP}
	}
	for _, text := range ips {
		if ip, err := netip.ParseAddr(text); err == nil { // others are "" and None
			s.addresses = append(s.addresses, address{svc, ClusterIPCollision, ip.Unmap().String(), ip.Unmap()})
		}
	}
	for _, p := range spec.Ports {
		if p.NodePort != 0 {
			s.addresses = append(s.addresses, address{svc, NodePortCollision, fmt.Sprintf("%s %d", p.Protocol, p.NodePort), netip.Addr{}})
		}
	}
	if spec.HealthCheckNodePort != 0 {
		s.addresses = append(s.addresses, address{svc, NodePortCollision, fmt.Sprintf("TCP %d", spec.HealthCheckNodePort), netip.Addr{}})
	}
}

// readRange reads which addresses the standby hands out to Services.
func (s *simulator) readRange(key registry.Key, o *record, plain []byte) error {
	if o.resource.plural == "servicecidrs" {
		var c networkingv1.ServiceCIDR
		if err := decode(plain, &c); err != nil {
			return err
		}
		for _, text := range c.Spec.CIDRs {
			if prefix, err := netip.ParsePrefix(text); err == nil {
				s.ranges.cidrs = append(s.ranges.cidrs, prefix)
			}
		}
		return nil
	}
	if key.Name != "serviceips" && key.Name != "secondaryserviceips" {
		return nil
	}
	var r corev1.RangeAllocation
	if err := decode(plain, &r); err != nil {
		return err
	}
	if prefix, err := netip.ParsePrefix(r.Range); err == nil {
		s.ranges.allocator = append(s.ranges.allocator, prefix)
	}
	return nil
}

func (s *simulator) readIPAddress(key registry.Key, _ *record, plain []byte) error {
	var a networkingv1.IPAddress
	if err := decode(plain, &a); err != nil {
		return err
	}
	if a.Spec.ParentRef == nil {
		return nil
	}
	if ip, err := netip.ParseAddr(key.Name); err == nil {
		if s.ranges.owners == nil {
			s.ranges.owners = map[string]parent{}
		}
		s.ranges.owners[ip.Unmap().String()] = parent{a.Spec.ParentRef.Resource, a.Spec.ParentRef.Namespace + "/" + a.Spec.ParentRef.Name}
	}
	return nil
}

// judgeAddresses finds the Services that want what another has. Only those in
// which a replicated Service takes part are the promotion's.
func (s *simulator) judgeAddresses() {
	type taken struct {
		problem Problem
		what    string
	}
	having := map[taken][]*service{}
	for _, a := range s.addresses {
		of := taken{a.problem, a.what}
		if !slices.Contains(having[of], a.service) { // a port may stand twice, for two protocols of one name
			having[of] = append(having[of], a.service)
		}
	}
	for _, a := range s.addresses {
		o := &s.objects[s.find(a.service.key)]
		all := having[taken{a.problem, a.what}]
		if len(all) > 1 {
			severity := Yellow
			if slices.ContainsFunc(all, func(svc *service) bool { return svc.in }) {
				severity = Red
			}
			s.note(a.problem, severity, o, func() string {
				other := all[0]
				if other == a.service {
					other = all[1]
				}
				return fmt.Sprintf("%s is that of Service %s as well", a.what, other.name)
			})
			continue
		}
		if a.problem == ClusterIPCollision && a.service.in {
			s.judgeClusterIP(a, o)
		}
	}
}

// judgeClusterIP compares an address that only one Service has with what the
// standby hands out.
func (s *simulator) judgeClusterIP(a address, o *record) {
	if owner, allocated := s.ranges.owners[a.what]; allocated && owner != (parent{"services", a.service.name}) {
		s.note(ClusterIPAllocated, Yellow, o, func() string {
			return fmt.Sprintf("%s is allocated to %s %s", a.what, owner.resource, owner.name)
		})
		return
	}
	known := s.ranges.cidrs
	if len(known) == 0 {
		known = s.ranges.allocator
	}
	holds := func(p netip.Prefix) bool { return p.Contains(a.ip) }
	if len(known) > 0 && !slices.ContainsFunc(known, holds) {
		s.note(ClusterIPOutside, Yellow, o, func() string { return fmt.Sprintf("%s is in none of %v", a.what, known) })
	}
}
