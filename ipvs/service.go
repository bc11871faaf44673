package ipvs

import (
	"net/netip"
	"strconv"
	"time"
)

// ServiceKey identifies a virtual service within one network namespace. It is
// comparable and a map key; use [AddrService] or [MarkService], which give the
// one form that compares equal.
type ServiceKey struct {
	Protocol Protocol       // zero for a firewall-mark service
	Family   Family         // of a firewall-mark service; zero when Addr tells
	FWMark   uint32         // zero for an address service
	Addr     netip.AddrPort // the zero AddrPort for a firewall-mark service
}

// AddrService is the key of the service at a virtual address and port. Port 0
// (any port) needs a persistent service.
func AddrService(p Protocol, addr netip.AddrPort) ServiceKey {
	return ServiceKey{Protocol: p, Addr: addr}
}

// MarkService is the key of the service for packets that a firewall rule
// marked. The same mark may have an IPv4 and an IPv6 service.
func MarkService(mark uint32, f Family) ServiceKey {
	return ServiceKey{FWMark: mark, Family: f}
}

// AF is the service's address family.
func (k ServiceKey) AF() Family {
	switch {
	case k.FWMark != 0:
		return k.Family
	case k.Addr.Addr().Is4():
		return IPv4
	}
	return IPv6
}

// String is "tcp 192.0.2.10:80", "fwmark 7" or "fwmark 7 ipv6".
func (k ServiceKey) String() string {
	if k.FWMark == 0 {
		return k.Protocol.String() + " " + k.Addr.String()
	}
	s := "fwmark " + strconv.FormatUint(uint64(k.FWMark), 10)
	if k.Family != IPv4 {
		s += " " + k.Family.String()
	}
	return s
}

// Compare orders keys as ipvsadm lists them: mark, family, protocol, address,
// port; address services first.
func (k ServiceKey) Compare(o ServiceKey) int {
	switch {
	case k.FWMark != o.FWMark:
		return order(k.FWMark, o.FWMark)
	case k.AF() != o.AF():
		return order(k.AF(), o.AF())
	case k.Protocol != o.Protocol:
		return order(k.Protocol, o.Protocol)
	}
	return k.Addr.Compare(o.Addr)
}

func order[T ~uint16 | ~uint32](a, b T) int {
	if a < b {
		return -1
	}
	return 1
}

// Service is a virtual service as it is wanted or configured.
type Service struct {
	ServiceKey

	// Scheduler is the name the kernel knows it by; a module ip_vs_NAME may
	// have to be loaded. At most 15 bytes.
	Scheduler string
	Flags     Flags
	// Timeout is how long a client stays with its server when Flags has
	// Persistent, in whole seconds.
	Timeout time.Duration
	Netmask Netmask
	// PE is the persistence engine ("sip"); empty means none. At most 15 bytes.
	PE string
	// FullNAT: goipvsd's full NAT serves it, not the kernel. No kernel takes such
	// a service, nor do kernels list any.
	FullNAT bool
	// Proxy is what real servers of full NAT are told of the client.
	Proxy ProxyProtocol
	// Plane is where full NAT is to be done, as asked for.
	Plane Plane
}

// ServiceInfo is a service as the kernel, or full NAT, reports it.
type ServiceInfo struct {
	Service
	Stats Stats
	// Locals are the local addresses of a service of full NAT, in order.
	Locals []LocalInfo
	// Managed: goipvsd's file names this service of full NAT, so that no command
	// changes it.
	Managed bool
	// Runs is the plane in which full NAT is done; PlaneAuto: in none.
	Runs Plane
}

// LocalInfo is a local address of full NAT (a LIP) as it is now.
type LocalInfo struct {
	Addr netip.Addr
	// Conns is how many connections have it now, Conflicts how often it had no
	// port left for a server.
	Conns, Conflicts uint64
}

func (s *ServiceInfo) locals() (out []netip.Addr) {
	for i := range s.Locals {
		out = append(out, s.Locals[i].Addr)
	}
	return out
}

// Stats are a service's or destination's counters since it was made or zeroed,
// and the rates the kernel estimates from them, per second. Kernels before 4.1
// count in 32 bits (IPVS_SVC_ATTR_STATS).
type Stats struct {
	Conns             uint64
	InPkts, OutPkts   uint64
	InBytes, OutBytes uint64
	CPS               uint64
	InPPS, OutPPS     uint64
	InBPS, OutBPS     uint64
}
