package doctor

import (
	"fmt"
	"net/netip"
	"slices"
)

func vipMissingDirector(f *Facts) (found []Finding) {
	for _, vip := range f.vips() {
		is, known := f.local(vip)
		if is || !known || f.Hints.isVIP(vip) || f.onlyBackup() {
			continue
		}
		dev := "IF"
		if links := f.arpLinks(); len(links) > 0 {
			dev = links[0].Name
		}
		found = append(found, Finding{
			Object: vip.String(),
			Seen:   "a service has the address, but no interface of this host has it and no local route leads to it",
			Why:    "routers find nobody who has it, and IPVS never sees packets that are not for this host",
			Fix:    []string{fmt.Sprintf("goipvs vip add %s --dev %s", vip, dev)},
			Undo:   []string{fmt.Sprintf("goipvs vip del %s --dev %s", vip, dev)},
		})
	}
	return found
}

// isVIP: the host holds the address as a real server.
func (h *Hints) isVIP(a netip.Addr) bool {
	return slices.Contains(h.VIPs, a)
}

func rsVIPMissing(f *Facts) (found []Finding) {
	for _, vip := range f.wanted() {
		if is, known := f.local(vip); is || !known {
			continue
		}
		found = append(found, Finding{
			Object: vip.String(),
			Seen:   fmt.Sprintf("no interface of this real server has the address; Ip InAddrErrors grew by %d meanwhile", f.Grew("Ip.InAddrErrors")),
			Why:    "packets of DR and TUN arrive with this destination and are dropped in silence: the director keeps SYN_RECV, the client times out",
			Fix:    []string{"goipvs realserver add " + vip.String()},
			Undo:   []string{"goipvs realserver del " + vip.String()},
		})
	}
	return found
}

// rsVIPMissingForwarding: on the real server the kernel says that it would send
// the packet on; on the director the probe came back, or one packet of a
// connection has become dozens.
func rsVIPMissingForwarding(f *Facts) (found []Finding) {
	const why = "the real server does not know the address as its own and forwards: the packet goes round until its TTL ends, dozens of times for each SYN"
	for _, vip := range f.wanted() {
		for _, r := range f.Routes {
			if is, known := f.local(vip); !known || is || r.To != vip || r.Iif == "" || r.Type != Unicast || !f.forwards(vip, r.Iif) {
				continue
			}
			found = append(found, Finding{
				Object: vip.String(),
				Seen:   fmt.Sprintf("the address is not here, and a packet to it from %s that comes in by %s is sent on by %s: forwarding is on", r.From, r.Iif, r.Oif),
				Why:    why,
				Fix:    []string{"goipvs realserver add " + vip.String(), "# or, before this server leaves the service: " + ip(vip) + " route add blackhole " + host(vip)},
				Undo:   []string{"goipvs realserver del " + vip.String()},
			})
			break
		}
	}
	for _, s := range f.Services {
		for _, d := range f.remote(s, forwarded...) {
			seen := ""
			if p, ok := f.probe(s, d); ok && p.Outcome == Looped {
				seen = "the probe came back to this director from " + p.MAC
			} else if n := f.Grew("Icmp.OutTimeExcds"); n > 0 && looped(d) {
				seen = fmt.Sprintf("%d connections became %d packets of %d bytes, and Icmp OutTimeExcds grew by %d meanwhile",
					d.Stats.Conns, d.Stats.InPkts, d.Stats.InBytes/max(d.Stats.InPkts, 1), n)
			}
			if seen == "" {
				continue
			}
			found = append(found, Finding{
				Object: object(s, d), Seen: seen, Why: why,
				Fix:  []string{edit(s, d, "-w 0"), "# on " + d.Addr.Addr().String() + ": goipvs realserver add VIP"},
				Undo: []string{edit(s, d, fmt.Sprintf("-w %d", d.Weight))},
			})
		}
	}
	return found
}

// forwards: for IPv6 the kernel finds a route whether it forwards or not.
func (f *Facts) forwards(to netip.Addr, iif string) bool {
	return to.Is4() || f.Conf6["all"]["forwarding"] != 0 || f.Conf6[iif]["forwarding"] != 0
}

// loVIPNetmask: a virtual address on lo with a mask makes its whole network
// local.
func loVIPNetmask(f *Facts) (found []Finding) {
	for _, a := range f.Addrs {
		link, _ := f.link(a.Link)
		if !link.Loopback || a.Bits() == a.Addr().BitLen() || !a.Addr().IsGlobalUnicast() || isLoopbackNet(a.Addr()) {
			continue
		}
		found = append(found, Finding{
			Object: a.Prefix.String(),
			Seen:   fmt.Sprintf("%s has %s: every address of %s is this host's own", a.Link, a.Prefix, a.Masked()),
			Why:    "the host cannot talk to its neighbours in that network, nor answer clients in it",
			Fix: []string{fmt.Sprintf("%s address add %s dev %s", ip(a.Addr()), host(a.Addr()), a.Link),
				fmt.Sprintf("%s address del %s dev %s", ip(a.Addr()), a.Prefix, a.Link)},
			Undo: []string{fmt.Sprintf("%s address add %s dev %s", ip(a.Addr()), a.Prefix, a.Link)},
		})
	}
	return found
}

func v6VIPOnLink(f *Facts) (found []Finding) {
	for _, a := range f.Addrs {
		vip := f.hasVIP(a.Addr()) || f.Hints.isVIP(a.Addr()) || f.isWanted(a.Addr())
		if !a.Addr().Is6() || !vip || !a.DADFailed && !a.Tentative {
			continue
		}
		state := "tentative"
		if a.DADFailed {
			state = "marked as a duplicate (dadfailed)"
		}
		x := Finding{
			Object: a.Addr().String(),
			Seen:   fmt.Sprintf("the address on %s is %s: another host of the link has it", a.Link, state),
			Why:    "the kernel does not use an address that failed duplicate address detection",
			Fix:    []string{"# find the other host that has it: ip -6 neighbour; then", fmt.Sprintf("goipvs vip add %s --dev %s", a.Addr(), a.Link)},
		}
		if !f.hasVIP(a.Addr()) {
			x.Fix = []string{fmt.Sprintf("ip -6 address del %s dev %s", a.Prefix, a.Link), "goipvs realserver add " + a.Addr().String()}
		}
		found = append(found, x)
	}
	return found
}

func (f *Facts) isWanted(a netip.Addr) bool {
	return slices.Contains(f.wanted(), a)
}

func vipSecondary(f *Facts) (found []Finding) {
	for _, a := range f.Addrs {
		if !a.Secondary || !a.Addr().Is4() || !f.hasVIP(a.Addr()) || f.Conf["all"]["promote_secondaries"] != 0 || f.Conf[a.Link]["promote_secondaries"] != 0 {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Object:   a.Addr().String(),
			Seen:     fmt.Sprintf("%s is a secondary address of its network on %s, and promote_secondaries is 0", a.Prefix, a.Link),
			Why:      "when the first address of the network is removed or changed, the kernel removes the virtual address with it",
			Fix: []string{fmt.Sprintf("ip address add %s dev %s", host(a.Addr()), a.Link),
				fmt.Sprintf("ip address del %s dev %s", a.Prefix, a.Link)},
			Undo: []string{fmt.Sprintf("ip address add %s dev %s", a.Prefix, a.Link)},
		})
	}
	return found
}
