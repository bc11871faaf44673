package doctor

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/dump"
)

// links reads interfaces, their addresses and the neighbour cache.
func (g *gatherer) links() {
	links, err := dump.Whole(g.rt.LinkList)
	g.note("interfaces", err)
	names := map[int]string{}
	kinds := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index], kinds[l.Attrs().Index] = l.Attrs().Name, l.Type()
	}
	for _, l := range links {
		g.Links = append(g.Links, newLink(l, kinds[l.Attrs().MasterIndex]))
	}
	g.addrs(names)
	neighbours, err := dump.Whole(func() ([]netlink.Neigh, error) { return g.rt.NeighList(0, unix.AF_UNSPEC) })
	g.note("neighbours", err)
	const alive = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT | netlink.NUD_NOARP
	for _, n := range neighbours {
		if a, ok := netip.AddrFromSlice(n.IP); ok && (n.Family == unix.AF_INET || n.Family == unix.AF_INET6) && n.State&netlink.NUD_NOARP == 0 {
			g.Neighbours = append(g.Neighbours, Neighbour{Addr: a.Unmap(), MAC: n.HardwareAddr.String(), Link: names[n.LinkIndex], Alive: n.State&alive != 0})
		}
	}
}

func newLink(l netlink.Link, master string) Link {
	a := l.Attrs()
	x := Link{Name: a.Name, Index: a.Index, Kind: l.Type(), MTU: a.MTU, MAC: a.HardwareAddr.String(),
		Up: a.Flags&net.FlagUp != 0, Loopback: a.Flags&net.FlagLoopback != 0, LRO: largeReceive(a.Name)}
	port := slices.Contains([]string{"bridge", "bond", "team", "openvswitch"}, master)
	x.ARP = a.EncapType == "ether" && a.RawFlags&unix.IFF_NOARP == 0 && !x.Loopback && !port
	switch t := l.(type) {
	case *netlink.Iptun:
		x.Remote = remote(t.Remote)
	case *netlink.Gretun:
		x.Remote = remote(t.Remote)
	case *netlink.Sittun:
		x.Remote = remote(t.Remote)
	case *netlink.Ip6tnl:
		x.Remote = remote(t.Remote)
	}
	return x
}

func remote(b net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a.Unmap()
}

func (g *gatherer) addrs(names map[int]string) {
	addrs, err := dump.Whole(func() ([]netlink.Addr, error) { return g.rt.AddrList(nil, unix.AF_UNSPEC) })
	g.note("addresses", err)
	for _, a := range addrs {
		if a.IPNet == nil {
			continue
		}
		address, ok := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		if !ok {
			continue
		}
		g.Addrs = append(g.Addrs, Addr{Prefix: netip.PrefixFrom(address.Unmap(), bits), Link: names[a.LinkIndex],
			Secondary: a.Flags&unix.IFA_F_SECONDARY != 0, DADFailed: a.Flags&unix.IFA_F_DADFAILED != 0, Tentative: a.Flags&unix.IFA_F_TENTATIVE != 0})
	}
}

// mostQuestions bounds what is asked about a large set-up: a service more with
// the same network tells nothing new.
const mostQuestions = 64

// clients chooses addresses to ask with: those that have connections, the
// gateways' networks, and one that stands for the Internet.
func (g *gatherer) clients() {
	add := func(a netip.Addr) {
		if a.IsValid() && len(g.Clients) < mostQuestions/4 && !slices.Contains(g.Clients, a) && !g.hasAddr(a) && a.IsGlobalUnicast() {
			g.Clients = append(g.Clients, a)
		}
	}
	for _, c := range g.Connections {
		for _, a := range c.Clients {
			add(a.Addr().Unmap())
		}
	}
	for _, s := range g.Sockets {
		if s.State == SynReceived {
			add(s.Remote.Addr())
		}
	}
	for _, a := range internet {
		if a.Is4() || g.hasGlobal6() {
			add(a)
		}
	}
}

func (g *gatherer) hasGlobal6() bool {
	return slices.ContainsFunc(g.Addrs, func(a Addr) bool { return a.Addr().Is6() && a.Addr().IsGlobalUnicast() })
}

// routes asks the kernel: where packets to each real server and client go, and
// what becomes of a client's packet to a virtual address on each interface.
func (g *gatherer) routes() {
	var zero netip.Addr
	for _, d := range g.servers(0, 1, 2, 3) {
		g.ask(d.Addr.Addr(), zero, "")
	}
	for _, c := range g.Clients {
		g.ask(c, zero, "")
	}
	vips := append(g.vips(), g.heldAddrs()...)
	for _, vip := range vips[:min(len(vips), mostQuestions)] {
		g.ask(vip, zero, "")
		for _, c := range g.Clients {
			if c.Is4() != vip.Is4() || c == vip {
				continue
			}
			for _, l := range g.arpLinks() {
				g.ask(vip, c, l.Name)
			}
			for _, l := range g.receivers() {
				g.ask(vip, c, l.Name)
			}
			g.ask(c, vip, "")
		}
	}
	if g.Facts.Hints.Director.IsValid() {
		g.ask(g.Facts.Hints.Director, zero, "")
	}
	for _, c := range g.Firewall.Chains { // addresses of source NAT
		for _, r := range c.Rules {
			if r.To.IsValid() {
				g.ask(r.To, zero, "")
			}
		}
	}
}

func (g *gatherer) ask(to, from netip.Addr, iif string) {
	if _, done := g.route(to, from, iif); done || !to.IsValid() || len(g.Routes) > 64*mostQuestions {
		return
	}
	o := netlink.RouteGetOptions{Iif: iif}
	if from.IsValid() {
		o.SrcAddr = from.AsSlice()
	}
	answers, err := g.rt.RouteGetWithOptions(to.AsSlice(), &o)
	r := Route{To: to, From: from, Iif: iif}
	switch {
	case errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL):
		r.Type = Filtered
	case err != nil || len(answers) == 0:
		r.Type = Unreachable
	default:
		g.fill(&r, answers[0])
	}
	g.Routes = append(g.Routes, r)
}

func (g *gatherer) fill(r *Route, a netlink.Route) {
	switch a.Type {
	case unix.RTN_LOCAL:
		r.Type = Local
	case unix.RTN_UNICAST:
		r.Type = Unicast
	default:
		r.Type = Unreachable
	}
	gw := a.Gw
	if v, ok := a.Via.(*netlink.Via); ok && gw == nil {
		gw = v.Addr
	}
	if x, ok := netip.AddrFromSlice(gw); ok {
		r.Gateway = x.Unmap()
	}
	if x, ok := netip.AddrFromSlice(a.Src); ok {
		r.Src = x.Unmap()
	}
	for _, l := range g.Links {
		if l.Index == a.LinkIndex {
			r.Oif = l.Name
		}
	}
	r.MTU, r.AdvMSS = a.MTU, a.AdvMSS
}
