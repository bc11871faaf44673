package doctor

import (
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// Director tells whether the host offers virtual services.
func (f *Facts) Director() bool { return len(f.Services)+f.Others+len(f.Daemons) > 0 }

// RealServer tells whether the host is, or by the hints should be, a real
// server of DR or TUN, or of NAT by the hints alone: nothing on a NAT real
// server tells that it is one.
func (f *Facts) RealServer() bool {
	return len(f.held()) > 0 || len(f.wanted()) > 0 || f.natServer()
}

// natServer: by the hints, the host is a real server of NAT.
func (f *Facts) natServer() bool {
	return f.Hints.Method == "nat" || f.Hints.Method == "" && f.Hints.Director.IsValid()
}

func (f *Facts) roles() []string {
	roles := []string{}
	if f.Director() {
		roles = append(roles, "director")
	}
	if f.RealServer() {
		roles = append(roles, "realserver")
	}
	return roles
}

// held are the virtual addresses that the host has as a real server: those on
// devices that do no ARP and that look like it. On a director those of its own
// services are not among them, unless another host answers for the address, nor
// is what no hint names: routers have addresses on lo for other reasons.
func (f *Facts) held() (vips []Addr) {
	for _, a := range f.Addrs {
		link, ok := f.link(a.Link)
		if !ok || link.ARP || !a.Addr().IsGlobalUnicast() || a.Addr().IsLoopback() || link.Loopback && isLoopbackNet(a.Addr()) {
			continue
		}
		if f.Director() && !f.isBackupOf(a.Addr()) && !slices.Contains(f.Hints.VIPs, a.Addr()) {
			continue
		}
		if !f.Director() && !isVIPDevice(link) {
			continue
		}
		vips = append(vips, a)
	}
	return vips
}

func isLoopbackNet(a netip.Addr) bool { return a.Is4() && a.As4()[0] == 127 }

// isVIPDevice: an address of a tunnel to one peer is that tunnel's own.
func isVIPDevice(l Link) bool {
	switch l.Kind {
	case "dummy":
		return l.Name != "kube-ipvs0"
	case "ipip", "gre", "sit", "ip6tnl", "ip6gre", "tunl":
		return !l.Remote.IsValid()
	}
	return l.Loopback
}

// isBackupOf: the address is that of a service here, and another host answers
// for it, so that this host can only be a stand-by that is also a real server.
func (f *Facts) isBackupOf(a netip.Addr) bool {
	return f.hasVIP(a) && slices.ContainsFunc(f.ARP.Answers, func(x ARPAnswer) bool { return x.Addr == a })
}

// wanted are the addresses that the host is told it should hold as a real
// server. Of a table that could not be read it is not known that it lacks the
// service: the host may be the director.
func (f *Facts) wanted() []netip.Addr {
	if s := f.Hints.Service; s != nil && !f.hasService(*s) && s.Addr.IsValid() && !f.Director() && !f.natServer() && (!f.TableHidden || f.Hints.Method != "") {
		return append(slices.Clone(f.Hints.VIPs), s.Addr.Addr())
	}
	return f.Hints.VIPs
}

// heldAddrs are the addresses of held, and those wanted, each once.
func (f *Facts) heldAddrs() (all []netip.Addr) {
	for _, a := range f.held() {
		all = append(all, a.Addr())
	}
	all = append(all, f.wanted()...)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

func (f *Facts) hasService(k ipvs.ServiceKey) bool {
	return slices.ContainsFunc(f.Services, func(s Service) bool { return s.ServiceKey == k })
}

// hasVIP tells whether a service of this host has the address.
func (f *Facts) hasVIP(a netip.Addr) bool {
	return slices.ContainsFunc(f.Services, func(s Service) bool { return s.Addr.IsValid() && s.Addr.Addr() == a })
}

// vips are the addresses of the services, each once.
func (f *Facts) vips() (all []netip.Addr) {
	for _, s := range f.Services {
		if s.Addr.IsValid() {
			all = append(all, s.Addr.Addr())
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// tunnelled tells whether the host gets its packets by a tunnel: by hint, or
// because a tunnel device that takes packets of anybody is there to use.
func (f *Facts) tunnelled() bool {
	switch f.Hints.Method {
	case "tun":
		return true
	case "":
		return len(f.receivers()) > 0
	}
	return false
}

// receivers are the tunnel devices that are up and take packets of anybody.
func (f *Facts) receivers() (links []Link) {
	for _, l := range f.Links {
		if isTunnel(l) && l.Up && !l.Remote.IsValid() {
			links = append(links, l)
		}
	}
	return links
}

func isTunnel(l Link) bool {
	return slices.Contains([]string{"ipip", "gre", "sit", "ip6tnl", "ip6gre"}, l.Kind)
}
