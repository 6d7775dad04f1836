package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// balancer is an address at which a Service of type LoadBalancer is reached.
type balancer struct {
	service *service
	address string // an IP in its usual spelling, or a host name
	asked   bool   // the Service asks for it; otherwise it was given it
}

// addressAnnotations ask for addresses, beside spec.loadBalancerIP: those of
// MetalLB, kube-vip and Cilium.
var addressAnnotations = []string{
	"metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs",
	"kube-vip.io/loadbalancerIPs",
	"lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips",
}

// readBalancer notes the addresses of a load balancer: that which a replicated
// Service asks for, or had on the primary, and that which one of the standby's
// own has.
func (s *simulator) readBalancer(svc *service, v *corev1.Service) {
	if v.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	asked := []string{v.Spec.LoadBalancerIP}
	for _, name := range addressAnnotations {
		asked = append(asked, strings.Split(v.Annotations[name], ",")...)
	}
	var given []string
	for _, at := range v.Status.LoadBalancer.Ingress {
		given = append(given, at.IP, at.Hostname)
	}
	for _, text := range asked {
		s.balance(svc, text, true)
	}
	for _, text := range given {
		s.balance(svc, text, false)
	}
}

func (s *simulator) balance(svc *service, text string, asked bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	if ip, err := netip.ParseAddr(text); err == nil {
		text = ip.Unmap().String()
	}
	same := func(b balancer) bool { return b.service == svc && b.address == text }
	if text != "" && !slices.ContainsFunc(s.balancers, same) { // the asked ones come first
		s.balancers = append(s.balancers, balancer{svc, text, asked})
	}
}

// judgeBalancers finds replicated Services that come for an address which one of
// the standby's own has. Among themselves they shared it on the primary as well.
// One that does not ask for its address would be given another.
func (s *simulator) judgeBalancers() {
	own := map[string]*service{}
	for _, b := range s.balancers {
		if !b.service.in && own[b.address] == nil {
			own[b.address] = b.service
		}
	}
	for _, b := range s.balancers {
		other := own[b.address]
		if !b.service.in || other == nil {
			continue
		}
		severity, how := Red, "it asks for "
		if !b.asked {
			severity, how = Yellow, "on the primary it has "
		}
		s.note(BalancerCollision, severity, &s.objects[s.find(b.service.key)], func() string {
			return fmt.Sprintf("%s%s, which Service %s of the standby's own has", how, b.address, other.name)
		})
	}
}
