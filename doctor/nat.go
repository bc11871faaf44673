package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

func natIPForward(f *Facts) (found []Finding) {
	seen := map[string]bool{}
	for _, d := range f.servers(ipvs.NAT) {
		rip := d.Addr.Addr()
		r, ok := f.route(rip, netip.Addr{}, "")
		conf, family := f.Conf, "ipv4"
		if rip.Is6() {
			conf, family = f.Conf6, "ipv6"
		}
		on, known := conf[r.Oif]["forwarding"]
		if !ok || r.Type != Unicast || !known || on != 0 || seen[r.Oif+family] {
			continue
		}
		seen[r.Oif+family] = true
		fix := "net.ipv4.ip_forward"
		if rip.Is6() {
			fix = "net.ipv6.conf.all.forwarding"
		}
		x := Finding{
			Object: r.Oif,
			Seen: fmt.Sprintf("forwarding is 0 on %s (%s), by which answers of NAT real servers such as %s come in; Ip InAddrErrors grew by %d meanwhile",
				r.Oif, family, rip, f.Grew("Ip.InAddrErrors")+f.Grew("Ip6InAddrErrors")),
			Why:  "requests reach the real server, but its answers are packets to be forwarded and are dropped",
			Fix:  []string{fmt.Sprintf("sysctl -w %s=1", fix)},
			Undo: []string{fmt.Sprintf("sysctl -w %s=0", fix)},
		}
		if conf["all"]["forwarding"] != 0 { // only the interface's
			name := fmt.Sprintf("net.%s.conf.%s.forwarding", family, r.Oif)
			x.Fix, x.Undo = []string{"sysctl -w " + name + "=1"}, []string{"sysctl -w " + name + "=0"}
		}
		found = append(found, x)
	}
	return found
}

const gatewayWhy = "only the director can put the virtual address back as source: an answer that goes past it comes from an address the client never asked"

// natRSGateway: on the director it is inferred, from connections without an
// answer to a server that answers the director itself.
func natRSGateway(f *Facts) (found []Finding) {
	if dip := f.Hints.Director; dip.IsValid() && f.natServer() {
		found = append(found, f.wayPast(dip)...)
	}
	for _, s := range f.Services {
		if f.fullNAT(s) {
			continue
		}
		for _, d := range f.remote(s, ipvs.NAT) {
			p, probed := f.probe(s, d)
			c, waiting := f.stuck(s, d)
			if !waiting || f.answered(s, d) || !probed || p.Direct != Answered {
				continue
			}
			found = append(found, Finding{
				Object: object(s, d),
				Seen: fmt.Sprintf("%d connections (%s) wait in SYN_RECV and none has got an answer, though the real server answers this director's own connection",
					c.Count, c.Clients[0].Addr()),
				Why: gatewayWhy,
				Fix: []string{fmt.Sprintf("# on %s: %s route replace default via %s", d.Addr.Addr(), ip(d.Addr.Addr()), f.towards(d.Addr.Addr()))},
			})
		}
	}
	return found
}

// fullNAT tells whether connections of a NAT service get a local address of this
// host, so that real servers answer to that, by whatever gateway they have.
func (f *Facts) fullNAT(s Service) bool {
	return s.Addr.IsValid() && !f.knobIs("conntrack", 0) && slices.ContainsFunc(f.Firewall.Chains, func(c Chain) bool {
		return slices.ContainsFunc(c.Rules, func(r FilterRule) bool {
			return (r.Verdict == SNAT || r.Verdict == Masquerade) && names4(r, s.Addr.Addr())
		})
	})
}

// wayPast asks, on a NAT real server, whether answers to clients go to the
// director. Clients in networks of this host are natSameSubnet's.
func (f *Facts) wayPast(dip netip.Addr) (found []Finding) {
	director, _ := f.neighbour(dip)
	for _, client := range f.Clients {
		if client.Is4() != dip.Is4() || client == dip || f.inOwnNet(client) {
			continue
		}
		r, ok := f.route(client, netip.Addr{}, "")
		gw, known := f.neighbour(r.Gateway)
		if !ok || r.Gateway == dip || known && director.MAC != "" && gw.MAC == director.MAC {
			continue
		}
		way := fmt.Sprintf("by %s", r.Gateway)
		if r.Type != Unicast {
			way = "nowhere: there is no route"
		}
		return []Finding{{
			Object: client.String(),
			Seen:   fmt.Sprintf("answers to clients such as %s go %s, not by the director %s", client, way, dip),
			Why:    gatewayWhy,
			Fix:    []string{fmt.Sprintf("%s route replace default via %s", ip(dip), dip), "# or a rule for answers only: ip rule add from RIP lookup 100; ip route add default via " + dip.String() + " table 100"},
		}}
	}
	return nil
}

func (f *Facts) inOwnNet(a netip.Addr) bool {
	return slices.ContainsFunc(f.Addrs, func(x Addr) bool { return x.Bits() < x.Addr().BitLen() && x.Masked().Contains(a) })
}

// towards is the address of this host in the network of another.
func (f *Facts) towards(a netip.Addr) string {
	if r, ok := f.route(a, netip.Addr{}, ""); ok && r.Src.IsValid() {
		return r.Src.String()
	}
	return "DIRECTOR"
}

// answered tells whether any connection of a destination has got further than
// its first packet.
func (f *Facts) answered(s Service, d ipvs.DestinationInfo) bool {
	return slices.ContainsFunc(f.Connections, func(c Connections) bool {
		return f.of(c, s) && c.Destination == d.Addr && !c.Template && c.State != "SYN_RECV"
	})
}

// natSameSubnet: the client is in the real server's own network, which answers
// it past the director.
func natSameSubnet(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if f.fullNAT(s) {
			continue
		}
		for _, d := range f.remote(s, ipvs.NAT) {
			r, ok := f.route(d.Addr.Addr(), netip.Addr{}, "")
			c, waiting := f.stuck(s, d)
			if !ok || !waiting {
				continue
			}
			i := slices.IndexFunc(c.Clients, func(a netip.AddrPort) bool { return f.onLink(a.Addr(), r.Oif) && f.sameNet(a.Addr(), d.Addr.Addr()) })
			if i < 0 {
				continue
			}
			found = append(found, f.sameSubnet(object(s, d), c.Clients[i].Addr(), d.Addr.Addr(), f.towards(d.Addr.Addr())))
		}
	}
	for _, c := range f.Sockets {
		if dip := f.Hints.Director; dip.IsValid() && f.natServer() && c.State == SynReceived && c.Remote.Addr() != dip && f.inOwnNet(c.Remote.Addr()) {
			return append(found, f.sameSubnet(c.Local.String(), c.Remote.Addr(), c.Local.Addr(), dip.String()))
		}
	}
	return found
}

func (f *Facts) sameNet(a, b netip.Addr) bool {
	return slices.ContainsFunc(f.Addrs, func(x Addr) bool {
		return x.Bits() < x.Addr().BitLen() && x.Masked().Contains(a) && x.Masked().Contains(b)
	})
}

func (f *Facts) sameSubnet(object string, client, rip netip.Addr, dip string) Finding {
	return Finding{
		Object: object,
		Seen:   fmt.Sprintf("the client %s is in the network of the real server %s and waits for an answer (SYN_RECV)", client, rip),
		Why:    "the real server answers it directly, with its own address as source, which the client refuses",
		Fix: []string{"# use full NAT for such clients, or on " + rip.String() + " send the whole network by way of the director:",
			fmt.Sprintf("# ip route add %s dev IF; ip route replace NETWORK via %s", dip, dip)},
	}
}

// oneArmRedirect: the director tells a real server of the shorter way past
// itself. The knob of the interface and that of all are or-ed.
func oneArmRedirect(f *Facts) (found []Finding) {
	seen := map[string]bool{}
	for _, d := range f.servers(ipvs.NAT) {
		r, ok := f.route(d.Addr.Addr(), netip.Addr{}, "")
		on, known := f.eff("send_redirects", r.Oif)
		if !ok || !d.Addr.Addr().Is4() || !known || on == 0 || seen[r.Oif] || !f.clientsBy(r.Oif) {
			continue
		}
		seen[r.Oif] = true
		found = append(found, Finding{
			Object: r.Oif,
			Seen: fmt.Sprintf("NAT real servers (%s) and the way to clients share %s, and %s; Icmp OutRedirects grew by %d meanwhile",
				d.Addr.Addr(), r.Oif, f.said("send_redirects", r.Oif), f.Grew("Icmp.OutRedirects")),
			Why: "the director tells real servers to answer clients past it; who obeys loses those clients for about five minutes",
			Fix: []string{setConf("all", "send_redirects", 0), setConf(r.Oif, "send_redirects", 0),
				"# on each real server: sysctl -w net.ipv4.conf.all.accept_redirects=0; ip route flush cache"},
			Undo: []string{f.unsetConf("all", "send_redirects"), f.unsetConf(r.Oif, "send_redirects")},
		})
	}
	return found
}

// clientsBy tells whether the way to some client leaves by the interface.
func (f *Facts) clientsBy(link string) bool {
	return slices.ContainsFunc(f.Clients, func(c netip.Addr) bool {
		r, ok := f.route(c, netip.Addr{}, "")
		return ok && c.Is4() && r.Type == Unicast && r.Oif == link
	})
}

func ftpHelper(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if s.Protocol != ipvs.TCP || s.Addr.Port() != 21 || s.Flags&ipvs.Persistent != 0 || len(f.remote(s, ipvs.NAT)) == 0 || slices.Contains(f.Apps, "ftp") {
			continue
		}
		found = append(found, Finding{
			Object: s.ServiceKey.String(),
			Seen:   "a service for FTP by NAT, not persistent, and ip_vs_ftp is not loaded",
			Why:    "clients log in, but data connections (LIST) hang: nobody translates the addresses inside the dialogue",
			Fix:    []string{"modprobe ip_vs_ftp", "# with FTPS or EPSV: a passive port range, one firewall mark for 21 and the range, and persistence"},
			Undo:   []string{"rmmod ip_vs_ftp"},
		})
	}
	return found
}

// natServers are the NAT real servers of a family.
func (f *Facts) natServers(v4 bool) []ipvs.DestinationInfo {
	return slices.DeleteFunc(f.servers(ipvs.NAT), func(d ipvs.DestinationInfo) bool { return d.Addr.Addr().Is4() != v4 })
}
