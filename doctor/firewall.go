package doctor

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// clientPort stands for any port of a client.
const clientPort = 40000

// requests are packets of clients to a service, as the hooks of the director
// see them.
func (f *Facts) requests(s Service, state uint32) (list []packet) {
	if !s.Addr.IsValid() || s.Addr.Port() == 0 {
		return nil
	}
	for _, client := range f.Clients {
		in := f.comesIn(s.Addr.Addr(), client)
		if client.Is4() != s.Addr.Addr().Is4() || in == "" {
			continue
		}
		list = append(list, packet{proto: uint8(s.Protocol), src: netip.AddrPortFrom(client, clientPort), dst: s.Addr, in: in, state: state, vip: s.Addr.Addr()})
	}
	return list
}

// comesIn is the interface by which a client's packets come: that of the way
// back to it.
func (f *Facts) comesIn(vip, client netip.Addr) string {
	if r, ok := f.route(client, netip.Addr{}, ""); ok && r.Type == Unicast {
		return r.Oif
	}
	for _, r := range f.Routes {
		if r.To == vip && r.From == client && r.Type == Local && r.Iif != "" {
			return r.Iif
		}
	}
	return ""
}

// dropsRequest finds a service whose first packets the input hook drops.
func (f *Facts) dropsRequest(s Service) (judgement, bool) {
	for _, p := range f.requests(s, ctNew) {
		if j := f.Firewall.judge("input", p); j.drops() {
			return j, true
		}
	}
	return judgement{}, false
}

// unclearRequest: rules that are not understood may drop a service's first
// packets.
func (f *Facts) unclearRequest(s Service) bool {
	return slices.ContainsFunc(f.requests(s, ctNew), func(p packet) bool { return f.Firewall.judge("input", p).unclear() })
}

// byKeepalived: keepalived installs drops for its virtual addresses.
func byKeepalived(j judgement, vip netip.Addr) bool {
	return strings.Contains(j.chain.Table, "keepalived") || strings.Contains(j.chain.Name, "keepalived") ||
		len(j.rule.Matches) == 1 && j.rule.Matches[0].Field == Destination && !j.rule.Matches[0].Not &&
			len(j.rule.Matches[0].Ranges) == 1 && bytes.Equal(j.rule.Matches[0].Ranges[0].From, vip.AsSlice())
}

func vrrpStrictDrop(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		j, drops := f.dropsRequest(s)
		if !drops || !byKeepalived(j, s.Addr.Addr()) {
			continue
		}
		found = append(found, Finding{
			Object: s.ServiceKey.String(),
			Seen:   "everything to the virtual address is dropped: " + j.text(),
			Why:    "keepalived does that with vrrp_strict, or without accept: it takes the address as one that nobody may talk to, and IPVS never sees a packet",
			Fix:    []string{"# remove vrrp_strict from keepalived.conf, or add accept to the vrrp_instance, and reload keepalived"},
		})
	}
	return found
}

func firewallDropsVIP(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		j, drops := f.dropsRequest(s)
		if !drops || byKeepalived(j, s.Addr.Addr()) {
			continue
		}
		found = append(found, Finding{
			Object: s.ServiceKey.String(),
			Seen:   "new connections of clients to the service are dropped on input: " + j.text(),
			Why:    "IPVS comes after the input filter: it never sees these packets, and clients time out",
			Fix:    []string{f.acceptRule(j.chain, s.ServiceKey)},
		})
	}
	return found
}

// acceptRule accepts a service in front of the chain that drops it, without
// connection tracking.
func (f *Facts) acceptRule(c Chain, k ipvs.ServiceKey) string {
	family, proto := "ip", k.Protocol.String()
	if k.Addr.Addr().Is6() {
		family = "ip6"
	}
	if c.Backend != "nftables" {
		return fmt.Sprintf("%s -I INPUT -d %s -p %s --dport %d -j ACCEPT", c.Backend, k.Addr.Addr(), proto, k.Addr.Port())
	}
	table := map[int]string{0: "inet", 4: "ip", 6: "ip6"}[c.Family]
	return fmt.Sprintf("nft insert rule %s %s %s %s daddr %s %s dport %d accept", table, c.Table, c.Name, family, k.Addr.Addr(), proto, k.Addr.Port())
}

// reply is the answer of a NAT real server as the forward hook sees it.
func (f *Facts) reply(s Service, d ipvs.DestinationInfo, client netip.Addr, state uint32) (packet, bool) {
	r, ok := f.route(d.Addr.Addr(), netip.Addr{}, "")
	back, ok2 := f.route(client, netip.Addr{}, "")
	if !ok || !ok2 || back.Type != Unicast || client.Is4() != d.Addr.Addr().Is4() {
		return packet{}, false
	}
	proto := s.Protocol
	if proto == 0 {
		proto = ipvs.TCP
	}
	return packet{proto: uint8(proto), src: d.Addr, dst: netip.AddrPortFrom(client, clientPort), in: r.Oif, out: back.Oif, state: state}, true
}

// dropsReply finds a client whose answers the forward hook drops. Without
// vs.conntrack=1 conntrack has not seen the request, and takes the answer as
// invalid.
func (f *Facts) dropsReply(s Service) (d ipvs.DestinationInfo, j judgement, stateful, drops bool) {
	state := uint32(ctInvalid)
	if !f.knobIs("conntrack", 0) {
		state = ctEstablished
	}
	for _, d := range f.remote(s, ipvs.NAT) {
		for _, client := range f.Clients {
			p, ok := f.reply(s, d, client, state)
			if !ok {
				continue
			}
			if j := f.Firewall.judge("forward", p); j.drops() {
				p.state = ctEstablished
				return d, j, !f.Firewall.judge("forward", p).drops(), true
			}
		}
	}
	return ipvs.DestinationInfo{}, judgement{}, false, false
}

func forwardPolicyDrop(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		d, j, stateful, drops := f.dropsReply(s)
		if !drops || stateful {
			continue
		}
		x := Finding{
			Object: object(s, d),
			Seen:   "answers of the real server to clients are dropped on forward: " + j.text(),
			Why:    "only requests pass the input filter; answers of NAT real servers are forwarded packets. Docker sets this policy",
			Fix:    []string{fmt.Sprintf("%s -I FORWARD -s %s -j ACCEPT", j.chain.Backend, d.Addr.Addr())},
			Undo:   []string{fmt.Sprintf("%s -D FORWARD -s %s -j ACCEPT", j.chain.Backend, d.Addr.Addr())},
		}
		if j.chain.Backend == "nftables" {
			x.Fix = []string{fmt.Sprintf("nft insert rule %s %s %s %s saddr %s accept", map[int]string{0: "inet", 4: "ip", 6: "ip6"}[j.chain.Family],
				j.chain.Table, j.chain.Name, map[bool]string{true: "ip", false: "ip6"}[d.Addr.Addr().Is4()], d.Addr.Addr())}
			x.Undo = nil
		}
		found = append(found, x)
	}
	return found
}

func conntrackInvalidNAT(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		d, j, stateful, drops := f.dropsReply(s)
		if !drops || !stateful {
			continue
		}
		found = append(found, Finding{
			Object: object(s, d),
			Seen: fmt.Sprintf("net.ipv4.vs.conntrack is 0, and the forward filter drops answers that connection tracking does not know: %s; nf_conntrack invalid grew by %d meanwhile",
				j.text(), f.Grew("nf_conntrack.invalid")),
			Why:  "IPVS hides requests from connection tracking, so the SYN-ACK is the first packet it sees, and invalid",
			Fix:  []string{setKnob("conntrack", 1)},
			Undo: []string{f.unsetKnob("conntrack")},
		})
	}
	return found
}

// conntrackOneway: conntrack never sees the answers of DR and TUN, so what
// follows the first packet is invalid to it.
func conntrackOneway(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if len(f.remote(s, forwarded...)) == 0 || s.Protocol != ipvs.TCP {
			continue
		}
		if _, drops := f.dropsRequest(s); drops {
			continue // firewall-drops-vip
		}
		for _, p := range f.requests(s, ctInvalid) {
			j := f.Firewall.judge("input", p)
			if !j.drops() {
				continue
			}
			found = append(found, Finding{
				Object: s.ServiceKey.String(),
				Seen: fmt.Sprintf("the input filter takes the first packet of a connection and drops those after it as invalid: %s; nf_conntrack invalid grew by %d meanwhile",
					j.text(), f.Grew("nf_conntrack.invalid")),
				Why: "with DR and TUN this director never sees answers, so connection tracking cannot know the connection; net.ipv4.vs.conntrack=1 does not help",
				Fix: []string{f.acceptRule(j.chain, s.ServiceKey), "# and do not track it: nft add rule raw prerouting ip daddr " + s.Addr.Addr().String() + " notrack"},
			})
			break
		}
	}
	return found
}

// rsFirewall: on a real server, by the service that the hints name, or because
// a port is open at the server's own address and not at the virtual one.
func rsFirewall(f *Facts) (found []Finding) {
	if len(f.Services) == 0 || len(f.held()) > 0 {
		found = append(found, f.dropsVIP()...)
	}
	for _, s := range f.Services {
		for _, d := range f.remote(s, forwarded...) {
			if p, ok := f.probe(s, d); ok && p.Outcome == Forbidden {
				found = append(found, Finding{
					Object: object(s, d),
					Seen:   "the probe in the name of the virtual address was refused by a firewall: " + p.Detail,
					Why:    "the firewall of a real server knows its own address and not the virtual one",
					Fix:    []string{"# on " + d.Addr.Addr().String() + ": accept " + s.ServiceKey.String() + " on input"},
				})
			}
		}
	}
	return found
}

func (f *Facts) dropsVIP() (found []Finding) {
	for _, a := range f.held() {
		for _, at := range f.openAt(a.Addr()) {
			for _, client := range f.Clients {
				in := f.comesIn(a.Addr(), client)
				if r := f.receivers(); len(r) > 0 {
					in = r[0].Name
				}
				p := packet{proto: uint8(at.Protocol), src: netip.AddrPortFrom(client, clientPort), dst: at.Addr, in: in, state: ctNew}
				j := f.Firewall.judge("input", p)
				if in == "" || client.Is4() != a.Addr().Is4() || !j.drops() {
					continue
				}
				found = append(found, Finding{
					Object: at.String(),
					Seen:   "a program listens there, but new connections of clients are dropped on input: " + j.text(),
					Why:    "the firewall of the real server knows its own address and not the virtual one: clients time out",
					Fix:    []string{f.acceptRule(j.chain, at)},
				})
				break
			}
		}
	}
	return append(found, f.dropsTunnel()...)
}

// openAt are the services at a virtual address that can be meant: the one of
// the hints, else those that the filter lets in at an address of the server's
// own.
func (f *Facts) openAt(vip netip.Addr) (list []ipvs.ServiceKey) {
	if named := f.forwardedHere(); len(named) > 0 {
		return named
	}
	for _, s := range f.Sockets {
		own := f.ownAddr(vip.Is4())
		k := ipvs.AddrService(s.Protocol, netip.AddrPortFrom(vip, s.Local.Port()))
		if s.State != Listening || !own.IsValid() || !f.listens(s.Protocol, k.Addr) || slices.Contains(list, k) {
			continue
		}
		p := packet{proto: uint8(s.Protocol), src: netip.AddrPortFrom(own, clientPort), dst: netip.AddrPortFrom(own, s.Local.Port()), in: f.arpLinks()[0].Name, state: ctNew}
		if len(f.Clients) > 0 {
			p.src = netip.AddrPortFrom(f.Clients[len(f.Clients)-1], clientPort)
		}
		if j := f.Firewall.judge("input", p); j.fate == accepted {
			list = append(list, k)
		}
	}
	return list
}

// ownAddr is an address of the host on a real interface.
func (f *Facts) ownAddr(v4 bool) netip.Addr {
	for _, a := range f.Addrs {
		if l, ok := f.link(a.Link); ok && l.ARP && l.Up && a.Addr().Is4() == v4 && a.Addr().IsGlobalUnicast() {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// dropsTunnel asks for the outer packets of a tunnel.
func (f *Facts) dropsTunnel() (found []Finding) {
	own := f.ownAddr(true)
	for _, l := range f.receivers() {
		proto, name := map[string]uint8{"ipip": 4, "gre": 47}[l.Kind], l.Kind
		dst := netip.AddrPortFrom(own, 0)
		if l.Kind == "ipip" && f.Hints.Tunnel == "gue" {
			proto, name, dst = 17, "gue", netip.AddrPortFrom(own, f.Hints.TunnelPort)
		}
		if proto == 0 || !own.IsValid() || len(f.arpLinks()) == 0 {
			continue
		}
		from := f.Hints.Director
		if !from.IsValid() {
			from = own
		}
		p := packet{proto: proto, src: netip.AddrPortFrom(from, 0), dst: dst, in: f.arpLinks()[0].Name, state: ctNew}
		if j := f.Firewall.judge("input", p); j.drops() {
			fix := fmt.Sprintf("iptables -I INPUT -p %d -j ACCEPT", proto)
			if j.chain.Backend == "nftables" {
				fix = fmt.Sprintf("nft insert rule %s %s %s meta l4proto %d accept", map[int]string{0: "inet", 4: "ip", 6: "ip6"}[j.chain.Family], j.chain.Table, j.chain.Name, proto)
			}
			found = append(found, Finding{
				Object: l.Name,
				Seen:   fmt.Sprintf("%s packets (protocol %d) are dropped on input: %s", name, proto, j.text()),
				Why:    "packets never get out of the tunnel: clients time out",
				Fix:    []string{fix},
			})
		}
	}
	return found
}

// masqueradeHitsDR: with vs.conntrack=1 packets of IPVS pass POSTROUTING like
// others, and a rule for everything rewrites the client's address.
func masqueradeHitsDR(f *Facts) (found []Finding) {
	if !f.knobIs("conntrack", 1) {
		return nil
	}
	for _, s := range f.Services {
		for _, d := range f.remote(s, forwarded...) {
			r, ok := f.route(d.Addr.Addr(), netip.Addr{}, "")
			for _, p := range f.requests(s, ctNew) {
				p.in, p.out = "", r.Oif
				rule, chain, hit := f.Firewall.rewrites(p)
				if !ok || !hit || slices.ContainsFunc(rule.Matches, func(m Match) bool { return m.Field == Other }) {
					continue
				}
				found = append(found, Finding{
					Object: object(s, d),
					Seen:   fmt.Sprintf("net.ipv4.vs.conntrack is 1, and source NAT applies to requests for the real server: %s %s %s: %s", chain.Backend, chain.Table, chain.Name, rule.Text),
					Why:    "the real server sees this director as the client and answers it, which knows nothing of the connection",
					Fix:    []string{"# limit the rule: ! -d " + s.Addr.Addr().String() + ", or -m ipvs --vmethod masq; or, if nothing needs it:", setKnob("conntrack", 0)},
					Undo:   []string{f.unsetKnob("conntrack")},
				})
				break
			}
			if len(found) > 0 {
				return found
			}
		}
	}
	return found
}

// fullnatConntrackOff: a rule of source NAT is meant for a service, by naming
// its address, but IPVS hides its packets from it.
func fullnatConntrackOff(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if len(f.remote(s, ipvs.NAT)) == 0 || !s.Addr.IsValid() {
			continue
		}
		for _, c := range f.Firewall.Chains {
			for _, r := range c.Rules {
				if r.Verdict != SNAT && r.Verdict != Masquerade || !names4(r, s.Addr.Addr()) {
					continue
				}
				if f.knobIs("conntrack", 0) {
					found = append(found, Finding{
						Object: s.ServiceKey.String(),
						Seen:   fmt.Sprintf("source NAT is meant for the service (%s %s %s: %s), and net.ipv4.vs.conntrack is 0", c.Backend, c.Table, c.Name, r.Text),
						Why:    "IPVS hides its packets from source NAT: real servers see the client's address, and answer past this director",
						Fix:    []string{setKnob("conntrack", 1)},
						Undo:   []string{f.unsetKnob("conntrack")},
					})
				} else if is, known := f.local(r.To); r.To.IsValid() && known && !is {
					found = append(found, Finding{
						Object: r.To.String(),
						Seen:   fmt.Sprintf("source NAT of the service (%s %s %s: %s) uses an address that this host does not have", c.Backend, c.Table, c.Name, r.Text),
						Why:    "real servers send their answers to an address that nobody answers for",
						Fix:    []string{fmt.Sprintf("%s address add %s dev IF", ip(r.To), host(r.To))},
					})
				}
			}
		}
	}
	return found
}

// names4 tells whether a rule is about the virtual address by which the client
// came.
func names4(r FilterRule, vip netip.Addr) bool {
	return slices.ContainsFunc(r.Matches, func(m Match) bool {
		return (m.Field == CTVIP) && !m.Not && slices.ContainsFunc(m.Ranges, func(x Range) bool { return x.contains(vip.AsSlice(), false) })
	})
}

// serves tells whether packets with this mark are for a service.
func (f *Facts) serves(mark uint32) bool {
	return slices.Contains(f.Diverted, mark) || slices.ContainsFunc(f.Services, func(s Service) bool { return s.FWMark == mark && mark != 0 })
}

// fwmarkNotLocal: a service's mark is given to packets that this host routes on.
func fwmarkNotLocal(f *Facts) (found []Finding) {
	for _, m := range f.Marked {
		if m.Local {
			continue
		}
		rule := func(verb string) []string {
			return []string{fmt.Sprintf("%s rule %s fwmark %d lookup 100", ip(m.Addr), verb, m.Mark), fmt.Sprintf("%s route %s local default dev lo table 100", ip(m.Addr), verb)}
		}
		found = append(found, Finding{
			Object: fmt.Sprintf("%s with mark %d", m.Addr, m.Mark),
			Seen:   fmt.Sprintf("packets to %s get the mark %d of a service, and with it this host does not take them for its own", m.Addr, m.Mark),
			Why:    "IPVS, and full NAT in user space, see only what is to this host: these packets are routed on or dropped, and clients hear nothing",
			Fix:    append(rule("add"), "# or the address itself: goipvs vip add "+m.Addr.String()+" --dev IF"),
			Undo:   rule("del"),
		})
	}
	return found
}

// fwmarkUnmarked: a service for packets that nobody marks.
func fwmarkUnmarked(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		marks := append(f.Firewall.Marks(), f.Marks...)
		if s.FWMark == 0 || s.Stats.Conns > 0 || slices.Contains(marks, s.FWMark) || !f.Firewall.Known || f.MarksBPF {
			continue
		}
		found = append(found, Finding{
			Object: s.ServiceKey.String(),
			Seen:   fmt.Sprintf("no rule of the packet filter or of traffic control sets the mark %d, and the service never had a connection", s.FWMark),
			Why:    "no packet belongs to the service: clients are refused by this director itself",
			Fix:    []string{fmt.Sprintf("iptables -t mangle -A PREROUTING -d VIP -p tcp --dport PORT -j MARK --set-mark %d", s.FWMark)},
			Undo:   []string{fmt.Sprintf("iptables -t mangle -D PREROUTING -d VIP -p tcp --dport PORT -j MARK --set-mark %d", s.FWMark)},
		})
	}
	return found
}
