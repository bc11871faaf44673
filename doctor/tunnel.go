package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// overhead is what a tunnel adds to each packet, in bytes (DOCTOR: gre and gue
// with their flags).
func overhead(e ipvs.Encap, outer netip.Addr) int {
	n := 20
	if outer.Is6() {
		n = 40
	}
	switch e.Type {
	case ipvs.GRE:
		n += 4
		if e.Flags&ipvs.Csum != 0 {
			n += 4
		}
	case ipvs.GUE:
		n += 8 + 4
		if e.Flags&ipvs.RemCsum != 0 {
			n += 8
		}
	}
	return n
}

// tunNoReceiver: on the real server by hint, or because packets of an unknown
// protocol come in; on the director because the probe was refused.
func tunNoReceiver(f *Facts) (found []Finding) {
	const why = "nobody on the real server takes packets out of the tunnel: it refuses them, and so do clients see it"
	unknown := f.Grew("Ip.InUnknownProtos")
	if f.RealServer() && (f.Hints.Method == "tun" || unknown > 0) && !f.hasReceiver() {
		kind, fix := f.receiverFix()
		found = append(found, Finding{
			Object: kind,
			Seen:   fmt.Sprintf("no device takes %s packets on this real server; Ip InUnknownProtos grew by %d meanwhile", kind, unknown),
			Why:    why, Fix: fix,
		})
	}
	for _, s := range f.Services {
		for _, d := range f.remote(s, ipvs.Tunnel) {
			if p, ok := f.probe(s, d); ok && p.Outcome == NoReceiver {
				found = append(found, Finding{
					Object: object(s, d), Seen: "the probe was refused: " + p.Detail, Why: why,
					Fix: []string{"# on " + d.Addr.Addr().String() + ": goipvs realserver add VIP --mode tun"},
				})
			}
		}
	}
	return found
}

// hasReceiver: a device, up or down, of the kind that is needed.
func (f *Facts) hasReceiver() bool {
	if f.Hints.Tunnel == "gue" && !f.fouListens() {
		return false
	}
	return slices.ContainsFunc(f.Links, f.takes)
}

// takes tells whether a device, once up, takes packets of the tunnel that the
// hints name from anybody.
func (f *Facts) takes(l Link) bool {
	gre := l.Kind == "gre" || l.Kind == "ip6gre"
	return isTunnel(l) && !l.Remote.IsValid() && (f.Hints.Tunnel == "" || gre == (f.Hints.Tunnel == "gre"))
}

// fouListens: the port of gue is a UDP socket of the kernel's, which is listed
// among the others.
func (f *Facts) fouListens() bool {
	return f.Hints.TunnelPort == 0 || slices.ContainsFunc(f.Sockets, func(s Socket) bool {
		return s.Protocol == ipvs.UDP && s.Local.Port() == f.Hints.TunnelPort
	})
}

func (f *Facts) receiverFix() (kind string, fix []string) {
	switch f.Hints.Tunnel {
	case "gre":
		return "gre", []string{"modprobe ip_gre", "ip link set gre0 up"}
	case "gue":
		return "gue", []string{"modprobe -a ipip fou", fmt.Sprintf("ip fou add port %d gue", f.Hints.TunnelPort), "ip link set tunl0 up"}
	}
	return "ipip", []string{"modprobe ipip", "ip link set tunl0 up"}
}

func tunDeviceDown(f *Facts) (found []Finding) {
	const why = "packets out of the tunnel are refused while its device is down"
	for _, l := range f.Links {
		holds := slices.ContainsFunc(f.Addrs, func(a Addr) bool { return a.Link == l.Name && a.Addr().IsGlobalUnicast() })
		if l.Up || !f.takes(l) || slices.ContainsFunc(f.receivers(), f.takes) {
			continue
		}
		if !holds && (!f.RealServer() || f.Hints.Method != "tun") {
			continue
		}
		found = append(found, Finding{
			Object: l.Name, Seen: "the tunnel device " + l.Name + " is down", Why: why,
			Fix:  []string{"ip link set " + l.Name + " up"},
			Undo: []string{"ip link set " + l.Name + " down"},
		})
		break
	}
	for _, s := range f.Services {
		for _, d := range f.remote(s, ipvs.Tunnel) {
			if p, ok := f.probe(s, d); ok && p.Outcome == DeviceDown {
				found = append(found, Finding{
					Object: object(s, d), Seen: "the probe was refused: " + p.Detail, Why: why,
					Fix: []string{"# on " + d.Addr.Addr().String() + ": ip link set tunl0 up (gre: gre0)"},
				})
			}
		}
	}
	return found
}

// tunRPFilter: a route never points at the tunnel device, so strict filtering
// drops all that comes out of it, and loose filtering too unless the device has
// an address.
func tunRPFilter(f *Facts) (found []Finding) {
	for _, vip := range f.heldAddrs() {
		for _, l := range f.receivers() {
			r, filtered := f.filteredIn(vip, []string{l.Name})
			if !filtered || !vip.Is4() {
				continue
			}
			found = append(found, Finding{
				Object: l.Name,
				Seen: fmt.Sprintf("packets from %s to %s that come out of %s are dropped: %s; TcpExt IPReversePathFilter grew by %d meanwhile",
					r.From, vip, l.Name, f.said("rp_filter", l.Name), f.Grew("TcpExt.IPReversePathFilter")),
				Why:  "no route leads to clients by way of the tunnel device; 2 helps only if the device itself has an IPv4 address",
				Fix:  []string{setConf("all", "rp_filter", 0), setConf(l.Name, "rp_filter", 0), "# to keep the others strict: sysctl -w net.ipv4.conf.IF.rp_filter=1"},
				Undo: []string{f.unsetConf("all", "rp_filter"), f.unsetConf(l.Name, "rp_filter")},
			})
			return found
		}
	}
	return found
}

// tunMTU: only packets to the server pass the tunnel, and their size is chosen
// by the MSS of the server's SYN-ACK, so the cure is on the real server.
func tunMTU(f *Facts) []Finding {
	if f.tunnelled() && f.RealServer() && !f.Firewall.ClampsMSS() {
		for _, vip := range f.heldAddrs() {
			if x, ok := f.tooLargeMSS(vip); ok {
				return []Finding{x}
			}
		}
	}
	return f.tooBigForTunnel()
}

// tunnelHeader is the largest overhead of the tunnels received here.
func (f *Facts) tunnelHeader() int {
	n := 20
	for _, l := range f.receivers() {
		if l.Kind == "gre" {
			n = 24
		}
	}
	if f.Hints.Tunnel == "gue" {
		n = 32
	}
	return n
}

func (f *Facts) tooLargeMSS(vip netip.Addr) (Finding, bool) {
	for _, client := range f.Clients {
		r, ok := f.route(client, netip.Addr{}, "")
		link, known := f.link(r.Oif)
		if !ok || !known || r.Type != Unicast || client.Is4() != vip.Is4() {
			continue
		}
		headers := 40
		if vip.Is6() {
			headers = 60
		}
		// No client's link is assumed to carry more than Ethernet does.
		mss := min(1500, link.MTU) - headers
		if r.AdvMSS > 0 {
			mss = min(mss, r.AdvMSS)
		}
		if most := link.MTU - f.tunnelHeader() - headers; mss > most {
			return Finding{
				Severity: Warning,
				Object:   vip.String(),
				Seen:     fmt.Sprintf("this real server offers clients segments of %d bytes, but a tunnel over %d bytes carries %d", mss, link.MTU, most),
				Why:      "large uploads hang where the ICMP errors about it are filtered on the way, and start slowly where not",
				Fix:      []string{fmt.Sprintf("%s route change default via %s dev %s advmss %d", ip(vip), r.Gateway, r.Oif, most), "# or an MTU of 1520 (gre 1524, gue 1532) or more between director and real server"},
				Undo:     []string{fmt.Sprintf("%s route change default via %s dev %s", ip(vip), r.Gateway, r.Oif)},
			}, true
		}
	}
	return Finding{}, false
}

// tooBigForTunnel: on the director errors are being sent to clients whose
// packets do not fit.
func (f *Facts) tooBigForTunnel() []Finding {
	n := f.Grew("IcmpMsg.OutType3")
	for _, d := range f.servers(ipvs.Tunnel) {
		r, ok := f.route(d.Addr.Addr(), netip.Addr{}, "")
		link, known := f.link(r.Oif)
		if n < 2 || !ok || !known || f.received() < 500 {
			continue
		}
		inner := link.MTU - overhead(d.Encap, d.Addr.Addr())
		if inner >= 1500 {
			continue
		}
		return []Finding{{
			Severity: Warning,
			Object:   d.Addr.Addr().String(),
			Seen:     fmt.Sprintf("the tunnel carries packets of %d bytes, and %d ICMP errors went to clients meanwhile (IcmpMsg OutType3)", inner, n),
			Why:      "clients that do not get these errors hang in large uploads",
			Fix: []string{fmt.Sprintf("# on the real server: ip route change default via GATEWAY advmss %d", inner-40),
				"# let ICMP type 3 code 4 (IPv6: packet too big) pass; as a last resort: " + setKnob("pmtu_disc", 0)},
			Undo: []string{f.unsetKnob("pmtu_disc")},
		}}
	}
	return nil
}

// gsoOversize: that packets which must not be fragmented are is not to be seen,
// but that larger ones came in than a link carries is. Smaller ones may be
// fragments that the client allows.
func gsoOversize(f *Facts) []Finding {
	n, size := f.Grew("Ip.FragCreates"), f.received()
	if n == 0 || !f.knobIs("pmtu_disc", 1) || !f.Kernel.Before(7, 1) {
		return nil
	}
	for _, d := range f.servers(ipvs.Tunnel) {
		r, ok := f.route(d.Addr.Addr(), netip.Addr{}, "")
		link, known := f.link(r.Oif)
		if !ok || !known || size <= uint64(link.MTU) {
			continue
		}
		return []Finding{{
			Severity: Warning,
			Seen:     fmt.Sprintf("Ip FragCreates grew by %d meanwhile though pmtu_disc is 1, with tunnels to real servers and packets of %d bytes", n, size),
			Why:      "older kernels let packets that GRO has put together pass the size check, and fragment the outer packet",
			Fix:      []string{"# update the kernel; until then, on the interfaces to clients: ethtool -K IF gro off"},
		}}
	}
	return nil
}

// received is how large packets that came in were, on average.
func (f *Facts) received() uint64 {
	return f.Grew("IpExt.InOctets") / max(f.Grew("Ip.InReceives"), 1)
}
