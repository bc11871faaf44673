package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// Grew tells by how much a counter grew while the facts were gathered.
func (f *Facts) Grew(name string) uint64 {
	before, after := f.Before[name], f.After[name]
	if after < before { // it was reset, or wrapped
		return 0
	}
	return after - before
}

func (f *Facts) link(name string) (Link, bool) {
	i := slices.IndexFunc(f.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return f.Links[i], true
}

// arpLinks are the interfaces by which others can ask for addresses.
func (f *Facts) arpLinks() (links []Link) {
	for _, l := range f.Links {
		if l.ARP && l.Up {
			links = append(links, l)
		}
	}
	return links
}

// local tells whether the host takes packets to the address: by an address of
// its own or by a local route. It is asked of the kernel.
func (f *Facts) local(a netip.Addr) (is, known bool) {
	if r, ok := f.route(a, netip.Addr{}, ""); ok {
		return r.Type == Local, true
	}
	return f.hasAddr(a), len(f.Addrs) > 0
}

func (f *Facts) hasAddr(a netip.Addr) bool {
	return slices.ContainsFunc(f.Addrs, func(x Addr) bool { return x.Addr() == a })
}

func (f *Facts) route(to, from netip.Addr, iif string) (Route, bool) {
	i := slices.IndexFunc(f.Routes, func(r Route) bool { return r.To == to && r.From == from && r.Iif == iif })
	if i < 0 {
		return Route{}, false
	}
	return f.Routes[i], true
}

// onLink tells whether an address is in a network of an interface.
func (f *Facts) onLink(a netip.Addr, link string) bool {
	return slices.ContainsFunc(f.Addrs, func(x Addr) bool {
		return x.Link == link && x.Bits() < x.Addr().BitLen() && x.Masked().Contains(a)
	})
}

func (f *Facts) neighbour(a netip.Addr) (Neighbour, bool) {
	i := slices.IndexFunc(f.Neighbours, func(n Neighbour) bool { return n.Addr == a })
	if i < 0 {
		return Neighbour{}, false
	}
	return f.Neighbours[i], true
}

// macOwner names the real server that has the MAC address.
func (f *Facts) macOwner(mac string) (netip.Addr, bool) {
	for _, s := range f.Services {
		for _, d := range s.Destinations {
			if n, ok := f.neighbour(d.Addr.Addr()); ok && n.MAC == mac {
				return d.Addr.Addr(), true
			}
			for _, x := range f.ARP.Answers {
				if x.Addr == d.Addr.Addr() && x.MAC == mac {
					return x.Addr, true
				}
			}
		}
	}
	return netip.Addr{}, false
}

// knob is a number of net.ipv4.vs, and whether it is known.
func (f *Facts) knob(name string) (int, bool) {
	var n int
	_, err := fmt.Sscan(f.Knobs[name], &n)
	return n, err == nil
}

// knobIs is false for a knob that is not known.
func (f *Facts) knobIs(name string, value int) bool {
	n, ok := f.knob(name)
	return ok && n == value
}

// usable tells whether a destination may get new connections.
func usable(d ipvs.DestinationInfo) bool { return d.Weight > 0 && !full(d) }

func full(d ipvs.DestinationInfo) bool { return d.Upper > 0 && d.Active+d.Inactive >= d.Upper }

// remote are the destinations with a method that are other hosts.
func (f *Facts) remote(s Service, methods ...ipvs.Method) (list []ipvs.DestinationInfo) {
	for _, d := range s.Destinations {
		if is, known := f.local(d.Addr.Addr()); slices.Contains(methods, d.Method) && (!known || !is) {
			list = append(list, d)
		}
	}
	return list
}

// servers are the remote destinations with a method of all services, one for
// each address of a server and kind of tunnel.
func (f *Facts) servers(methods ...ipvs.Method) (list []ipvs.DestinationInfo) {
	for _, s := range f.Services {
		list = append(list, f.remote(s, methods...)...)
	}
	byAddr := func(a, b ipvs.DestinationInfo) int {
		return cmp.Or(a.Addr.Addr().Compare(b.Addr.Addr()), cmp.Compare(a.Encap.Type, b.Encap.Type))
	}
	slices.SortFunc(list, byAddr)
	return slices.CompactFunc(list, func(a, b ipvs.DestinationInfo) bool { return byAddr(a, b) == 0 })
}

// of tells whether connections belong to a service. Those of a firewall mark
// have any address, so all to an address that no service has may be its.
func (f *Facts) of(c Connections, s Service) bool {
	if s.FWMark != 0 {
		return c.Mark == s.FWMark || c.Mark == 0 && c.Virtual.IsValid() && !f.hasVIP(c.Virtual.Addr())
	}
	return c.Protocol == s.Protocol && c.Virtual.Addr() == s.Addr.Addr() && (s.Addr.Port() == 0 || c.Virtual.Port() == s.Addr.Port())
}

// stuck are the connections of a service to a destination that wait for an
// answer for too long.
func (f *Facts) stuck(s Service, d ipvs.DestinationInfo) (c Connections, ok bool) {
	for _, c := range f.Connections {
		if f.of(c, s) && !c.Own && c.Destination == d.Addr && c.State == "SYN_RECV" && c.Idle >= f.Stuck {
			return c, true
		}
	}
	return c, false
}

func object(s Service, d ipvs.DestinationInfo) string {
	return d.Addr.String() + " of " + s.ServiceKey.String()
}
