package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// forwarded are the methods by which the real server gets the packet as the
// client sent it.
var forwarded = []ipvs.Method{ipvs.DirectRoute, ipvs.Tunnel}

// filteredIn looks for a client whose packets to the address no interface takes
// because of the reverse path filter. Where one does, that is the one.
func (f *Facts) filteredIn(vip netip.Addr, in []string) (r Route, filtered bool) {
	for _, client := range f.Clients {
		var last Route
		passes := false
		for _, r := range f.Routes {
			if r.To != vip || r.From != client || r.Iif == "" || !slices.Contains(in, r.Iif) {
				continue
			}
			v, known := f.eff("rp_filter", r.Iif)
			if r.Type == Filtered && known && v != 0 {
				last = r
			} else {
				passes = true
			}
		}
		if last.To.IsValid() && !passes {
			return last, true
		}
	}
	return Route{}, false
}

func names(links []Link) (list []string) {
	for _, l := range links {
		list = append(list, l.Name)
	}
	return list
}

func (f *Facts) rpFilterFinding(vip netip.Addr, r Route) Finding {
	x := Finding{
		Object: vip.String(),
		Seen: fmt.Sprintf("packets from %s to the address that come in by %s are dropped: %s; TcpExt IPReversePathFilter grew by %d meanwhile",
			r.From, r.Iif, f.said("rp_filter", r.Iif), f.Grew("TcpExt.IPReversePathFilter")),
		Why: "the kernel's way back to the client does not use that interface (1), or there is none at all (1 and 2): it drops the packets in silence",
		Fix: []string{setConf(r.Iif, "rp_filter", 2)},
	}
	back, ok := f.route(r.From, netip.Addr{}, "")
	if !ok || back.Type != Unicast {
		x.Fix = []string{setConf(r.Iif, "rp_filter", 0), setConf("all", "rp_filter", 0), "# or add a route to the clients, and: " + setConf(r.Iif, "rp_filter", 2)}
		x.Undo = []string{f.unsetConf("all", "rp_filter")}
	}
	x.Undo = append(x.Undo, f.unsetConf(r.Iif, "rp_filter"))
	return x
}

func rpFilterDirector(f *Facts) (found []Finding) {
	for _, vip := range f.vips() {
		if r, filtered := f.filteredIn(vip, names(f.arpLinks())); filtered {
			found = append(found, f.rpFilterFinding(vip, r))
		}
	}
	return found
}

// rpFilterRS: packets of DR come in by the interface on which the director
// answers for the address, if it was heard; else by any.
func rpFilterRS(f *Facts) (found []Finding) {
	if f.tunnelled() {
		return nil // tun-rp-filter
	}
	for _, vip := range f.heldAddrs() {
		in := names(f.arpLinks())
		if heard := f.others(vip); len(heard) > 0 {
			in = nil
			for _, a := range heard {
				in = append(in, a.Link)
			}
		}
		if r, filtered := f.filteredIn(vip, in); filtered {
			found = append(found, f.rpFilterFinding(vip, r))
		}
	}
	return found
}

func drOffLink(f *Facts) (found []Finding) {
	for _, d := range f.servers(ipvs.DirectRoute) {
		rip := d.Addr.Addr()
		r, ok := f.route(rip, netip.Addr{}, "")
		if !ok || !r.Gateway.IsValid() {
			continue
		}
		found = append(found, Finding{
			Object: rip.String(),
			Seen:   fmt.Sprintf("the real server is not on a network of this host: the way there is the gateway %s", r.Gateway),
			Why:    "with DR only the MAC address changes, so the gateway sees a packet for the virtual address and sends it back: a loop until the TTL ends",
			Fix: []string{"# use a tunnel (goipvs -e SERVICE -r " + d.Addr.String() + " -i, and on the server goipvs realserver add VIP --mode tun),",
				"# or give this director an interface in the real server's network"},
		})
	}
	return found
}

// drGatewayIsDirector: seen from the real server its gateway is the host that
// answers for the virtual address; seen from the director its own address comes
// in as a source.
func drGatewayIsDirector(f *Facts) (found []Finding) {
	const why = "the director drops packets that come from outside with its own address as source (martians): clients beyond it get no answer"
	if !f.tunnelled() || f.Hints.Method == "dr" {
		for _, vip := range f.heldAddrs() {
			for _, client := range f.Clients {
				r, ok := f.route(client, vip, "")
				gw, known := f.neighbour(r.Gateway)
				if !ok || !known || !slices.ContainsFunc(f.others(vip), func(a ARPAnswer) bool { return a.MAC == gw.MAC }) {
					continue
				}
				found = append(found, Finding{
					Object: vip.String(),
					Seen:   fmt.Sprintf("the gateway %s towards clients is the director: both answer with %s", r.Gateway, gw.MAC),
					Why:    why,
					Fix: []string{fmt.Sprintf("%s route replace default via ROUTER dev %s", ip(vip), r.Oif),
						fmt.Sprintf("# or on the director: sysctl -w net.ipv4.conf.%s.accept_local=1 net.ipv4.ip_forward=1", "IF")},
					Undo: []string{fmt.Sprintf("%s route replace default via %s dev %s", ip(vip), r.Gateway, r.Oif)},
				})
				break
			}
		}
	}
	for _, a := range f.ARP.Routed {
		rs, known := f.macOwner(a.MAC)
		accepts, _ := f.eff("accept_local", a.Link)
		if !f.hasVIP(a.Addr) || accepts != 0 || f.onlyBackup() {
			continue
		}
		name := a.MAC
		if known {
			name = rs.String()
		}
		found = append(found, Finding{
			Object: name,
			Seen: fmt.Sprintf("a packet whose source is the virtual address %s was sent to this director as a gateway, by %s on %s; martian sources grew by %d meanwhile",
				a.Addr, a.MAC, a.Link, f.Grew("rt_cache.in_martian_src")),
			Why:  why,
			Fix:  []string{"# on " + name + ": " + ip(a.Addr) + " route replace default via ROUTER", "# or here:", setConf(a.Link, "accept_local", 1), "sysctl -w net.ipv4.ip_forward=1"},
			Undo: []string{f.unsetConf(a.Link, "accept_local")},
		})
	}
	return found
}

func rsUnreachableL2(f *Facts) (found []Finding) {
	for _, d := range f.servers(ipvs.NAT, ipvs.DirectRoute, ipvs.Tunnel) {
		rip := d.Addr.Addr()
		r, ok := f.route(rip, netip.Addr{}, "")
		if !ok || r.Type != Unicast || d.Weight == 0 {
			continue
		}
		hop := rip
		if r.Gateway.IsValid() {
			hop = r.Gateway
		}
		// An old entry of the cache proves nothing; an answer does.
		if n, known := f.neighbour(hop); slices.Contains(f.ARP.Asked, hop) {
			if len(f.others(hop)) > 0 {
				continue
			}
		} else if !known || n.Alive {
			continue
		}
		seen := fmt.Sprintf("nobody on %s answers for %s", r.Oif, hop)
		if hop != rip {
			seen += ", the gateway to it"
		}
		found = append(found, Finding{
			Object: rip.String(), Seen: seen,
			Why: "no packet reaches the real server: clients get \"no route to host\" after three seconds",
			Fix: []string{"# mend cable, VLAN or address of " + hop.String() + "; meanwhile take it out, for each of its services:",
				"goipvs -e SERVICE -r " + d.Addr.String() + " " + methodFlag(d.Destination) + " -w 0"},
		})
	}
	return found
}

// twoDirectorsLoop: a stand-by that is a real server too balances what the
// active director sent it, perhaps back to where it came from.
func twoDirectorsLoop(f *Facts) (found []Finding) {
	if !f.onlyBackup() || !f.knobIs("backup_only", 0) {
		return nil
	}
	for _, s := range f.Services {
		own := slices.ContainsFunc(s.Destinations, func(d ipvs.DestinationInfo) bool {
			is, _ := f.local(d.Addr.Addr())
			return is && d.Weight > 0
		})
		far := f.remote(s, forwarded...)
		if !own || len(far) == 0 {
			continue
		}
		found = append(found, Finding{
			Object: s.ServiceKey.String(),
			Seen:   fmt.Sprintf("this stand-by (sync daemon backup, backup_only 0) is a real server of the service and would balance to %s", far[0].Addr),
			Why:    "the active director sends a connection here and this host may send it back: the packet goes round between the two",
			Fix:    []string{setKnob("backup_only", 1)},
			Undo:   []string{f.unsetKnob("backup_only")},
		})
	}
	return found
}

// checkMissesVIP: the real server answers for its own address and not for the
// virtual one.
func checkMissesVIP(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		for _, d := range f.remote(s, forwarded...) {
			p, ok := f.probe(s, d)
			if !ok || p.Outcome != Silent || p.Direct != Answered {
				continue
			}
			found = append(found, Finding{
				Severity: Warning,
				Object:   object(s, d),
				Seen:     fmt.Sprintf("%s answers a connection to its own address, but not a SYN for the virtual address sent to it as IPVS would", d.Addr),
				Why:      "checks of the real server's own address stay green while clients time out; the causes are on that host: rs-vip-missing, rs-firewall, rp-filter-rs, tun-rp-filter",
				Fix: []string{fmt.Sprintf("# on %s: goipvs doctor --service %s", d.Addr.Addr(), f.serviceArg(s)),
					"# and let health checks ask the virtual address by way of the real server"},
			})
		}
	}
	return found
}

// antiSpoofing: everything a host can see is right, and still clients wait.
func antiSpoofing(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		for _, d := range f.remote(s, forwarded...) {
			p, ok := f.probe(s, d)
			c, waiting := f.stuck(s, d)
			if !ok || p.Outcome != Answered || !waiting || f.answered(s, d) {
				continue
			}
			found = append(found, Finding{
				Severity: Warning,
				Object:   object(s, d),
				Seen: fmt.Sprintf("the real server answered the probe in the name of the virtual address, but %d connections of clients (%s) got no usable answer",
					c.Count, c.Clients[0].Addr()),
				Why: "the answers are lost on the way to the clients: port security or source checks of the virtual network drop frames whose source is not the server's own, or a router does",
				Fix: []string{"# allow the virtual address on the server's port (allowed-address-pairs, source/destination check off, forged transmits), or use NAT or full NAT"},
			})
		}
	}
	return found
}

func selfClient(f *Facts) (found []Finding) {
	for _, c := range f.Sockets {
		vip := c.Remote.Addr()
		if c.State != SynSent || !f.hasVIP(vip) && !f.isHeld(vip) {
			continue
		}
		found = append(found, Finding{
			Severity: Info,
			Object:   c.Remote.String(),
			Seen:     fmt.Sprintf("a program of this host itself (%s) waits for a connection to the virtual address", c.Local),
			Why:      "from a director with DR, or from a NAT real server, that never works: no fault of the service",
			Fix:      []string{"# try it from a third host"},
		})
		break
	}
	return found
}
