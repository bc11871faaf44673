package ipvstest

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// The cases' notation. A service is wlc and a destination NAT with weight 1
// unless they say otherwise.

type serviceOption func(*ipvs.Service)

func vs(p ipvs.Protocol, addr string, opts ...serviceOption) ipvs.Service {
	return service0(ipvs.AddrService(p, netip.MustParseAddrPort(addr)), opts)
}

func tcp(addr string, opts ...serviceOption) ipvs.Service { return vs(ipvs.TCP, addr, opts...) }
func udp(addr string, opts ...serviceOption) ipvs.Service { return vs(ipvs.UDP, addr, opts...) }

func mark(m uint32, f ipvs.Family, opts ...serviceOption) ipvs.Service {
	return service0(ipvs.MarkService(m, f), opts)
}

func service0(k ipvs.ServiceKey, opts []serviceOption) ipvs.Service {
	s := ipvs.Service{ServiceKey: k, Scheduler: "wlc"}
	for _, o := range opts {
		o(&s)
	}
	return s
}

func sched(name string) serviceOption     { return func(s *ipvs.Service) { s.Scheduler = name } }
func flags(f ipvs.Flags) serviceOption    { return func(s *ipvs.Service) { s.Flags = f } }
func pe(name string) serviceOption        { return func(s *ipvs.Service) { s.PE = name } }
func keep(d time.Duration) serviceOption  { return func(s *ipvs.Service) { s.Timeout = d } }
func mask4(a, b, c, d byte) serviceOption { return mask(ipvs.Netmask4([4]byte{a, b, c, d})) }
func mask(m ipvs.Netmask) serviceOption   { return func(s *ipvs.Service) { s.Netmask = m } }

func mask6(length int) serviceOption {
	m, err := ipvs.PrefixMask(ipvs.IPv6, length)
	if err != nil {
		panic(err)
	}
	return mask(m)
}

type destinationOption func(*ipvs.Destination)

func rs(addr string, opts ...destinationOption) ipvs.Destination {
	d := ipvs.Destination{Addr: netip.MustParseAddrPort(addr), Weight: 1}
	for _, o := range opts {
		o(&d)
	}
	return d
}

func weight(w int32) destinationOption   { return func(d *ipvs.Destination) { d.Weight = w } }
func by(m ipvs.Method) destinationOption { return func(d *ipvs.Destination) { d.Method = m } }
func limits(u, l uint32) destinationOption {
	return func(d *ipvs.Destination) { d.Upper, d.Lower = u, l }
}
func encap(t ipvs.TunnelType, port uint16, f ipvs.TunnelFlags) destinationOption {
	return func(d *ipvs.Destination) {
		d.Method, d.Encap = ipvs.Tunnel, ipvs.Encap{Type: t, Port: port, Flags: f}
	}
}

func add(s ipvs.Service) ipvs.Change    { return ipvs.Change{Op: ipvs.AddService, Service: s} }
func edit(s ipvs.Service) ipvs.Change   { return ipvs.Change{Op: ipvs.UpdateService, Service: s} }
func remove(s ipvs.Service) ipvs.Change { return ipvs.Change{Op: ipvs.DeleteService, Service: s} }

func addTo(s ipvs.Service, d ipvs.Destination) ipvs.Change {
	return ipvs.Change{Op: ipvs.AddDestination, Service: s, Destination: d}
}

func editIn(s ipvs.Service, d ipvs.Destination) ipvs.Change {
	return ipvs.Change{Op: ipvs.UpdateDestination, Service: s, Destination: d}
}

func removeFrom(s ipvs.Service, d ipvs.Destination) ipvs.Change {
	return ipvs.Change{Op: ipvs.DeleteDestination, Service: s, Destination: d}
}

func these(c ...ipvs.Change) []ipvs.Change { return c }
