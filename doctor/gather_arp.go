package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	frames "github.com/goipvs/goipvs/sysctl/vip"
)

// arp asks all links who has the virtual addresses, and the real servers' links
// who has theirs. It asks first without a sender address, which changes
// nobody's cache (RFC 5227), then with its own, as proxies answer only that.
func (g *gatherer) arp() {
	questions := g.questions()
	if len(questions) == 0 {
		return
	}
	w, err := openWire(unix.ETH_P_ARP)
	if err != nil {
		g.note("who answers for the virtual addresses (ARP, neighbour discovery)", err)
		return
	}
	defer w.close()
	w6, err := openWire(unix.ETH_P_IPV6, advertisements...)
	if err != nil {
		g.note("who answers for the virtual addresses (neighbour discovery)", err)
		return
	}
	defer w6.close()
	w4, err := openWire(unix.ETH_P_IP, fromAny(g.vips())...)
	if err != nil {
		g.note("packets with a virtual address as source", err)
		return
	}
	defer w4.close()
	for round := range 2 {
		for _, q := range questions {
			g.put(w, w6, q, round == 0)
		}
		wait := g.Wait
		if round == 0 {
			wait /= 4
		}
		until := time.Now().Add(wait)
		w.read(until.Add(-wait/4), func(p frame) { g.heardARP(p, round == 0) })
		w6.read(until, g.heardNA)
	}
	w.read(time.Now(), func(p frame) { g.heardARP(p, false) })
	w4.read(time.Now(), g.heardRouted)
}

// question is a who-has on a link. Those for real servers need no first round.
type question struct {
	who netip.Addr
	on  Link
	vip bool
}

func (g *gatherer) questions() (list []question) {
	add := func(q question) {
		if len(list) < 16*mostQuestions && !slices.Contains(list, q) {
			list = append(list, q)
			if !slices.Contains(g.ARP.Asked, q.who) {
				g.ARP.Asked = append(g.ARP.Asked, q.who)
			}
		}
	}
	vips := append(g.vips(), g.heldAddrs()...)
	if len(vips) > mostQuestions {
		g.note("who answers for the virtual addresses", fmt.Errorf("%d of %d were asked about; with --service there is one", mostQuestions, len(vips)))
		vips = vips[:mostQuestions]
	}
	for _, vip := range vips {
		for _, l := range g.arpLinks() {
			if !isLoopbackNet(vip) && (vip.Is4() || g.linkLocal(l.Name).IsValid()) {
				add(question{vip, l, true})
			}
		}
	}
	for _, r := range g.Routes {
		if l, ok := g.link(r.Oif); ok && l.ARP && !r.From.IsValid() && r.Iif == "" && r.Type == Unicast && !g.isClient(r.To) {
			hop := r.To
			if r.Gateway.IsValid() {
				hop = r.Gateway
			}
			add(question{hop, l, false})
		}
	}
	for _, r := range g.Routes { // the gateway to clients, to know its MAC address
		if l, ok := g.link(r.Oif); ok && l.ARP && g.isClient(r.To) && r.Gateway.IsValid() {
			add(question{r.Gateway, l, false})
		}
	}
	return list
}

func (g *gatherer) isClient(a netip.Addr) bool { return slices.Contains(g.Clients, a) }

func (g *gatherer) linkLocal(link string) netip.Addr {
	for _, a := range g.Addrs {
		if a.Link == link && a.Addr().Is6() && a.Addr().IsLinkLocalUnicast() && !a.Tentative && !a.DADFailed {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// put sends a question; what cannot be sent stays unanswered, and so unknown.
func (g *gatherer) put(w, w6 *wire, q question, anonymous bool) {
	if q.who.Is6() {
		if from := g.linkLocal(q.on.Name); from.IsValid() && !anonymous {
			_ = w6.send(q.on, whoHas(q.on, from, q.who))
		}
		return
	}
	from := netip.IPv4Unspecified()
	if !anonymous {
		from = g.addr4(q.on.Name, q.who)
	}
	if !from.IsValid() || anonymous && !q.vip {
		return
	}
	_ = w.send(q.on, whoHas(q.on, from, q.who))
}

// addr4 is the address to ask with: one in the network of the address asked
// for, else any of the link that is not a virtual one.
func (g *gatherer) addr4(link string, who netip.Addr) (best netip.Addr) {
	for _, a := range g.Addrs {
		if a.Link != link || !a.Addr().Is4() || g.hasVIP(a.Addr()) {
			continue
		}
		if !best.IsValid() || a.Masked().Contains(who) {
			best = a.Addr()
		}
	}
	return best
}

func (g *gatherer) heardARP(p frame, anonymous bool) {
	a, ok := frames.Decode(p.data)
	reply := a.Kind == frames.IsAt
	if !ok || !reply && a.Kind != frames.WhoHas || g.isOwn(a.Owner.String()) {
		return
	}
	gratuitous := a.Sender == a.Target
	if reply && !gratuitous && g.isOwn(a.To.String()) {
		g.answer(ARPAnswer{Addr: a.Sender, MAC: a.Owner.String(), Link: g.linkName(p.link), ToAny: anonymous})
		return
	}
	if g.hasVIP(a.Sender) || slices.Contains(g.heldAddrs(), a.Sender) {
		heard(&g.ARP.Heard, ARPAnswer{Addr: a.Sender, MAC: a.Owner.String(), Link: g.linkName(p.link), Gratuitous: gratuitous, Request: !reply})
	}
}

// heard adds what is new.
func heard(list *[]ARPAnswer, a ARPAnswer) {
	if len(*list) < mostQuestions && !slices.Contains(*list, a) {
		*list = append(*list, a)
	}
}

// heardRouted: a packet from a virtual address that was sent to this host's MAC
// address and is for somebody else.
func (g *gatherer) heardRouted(p frame) {
	d, ok := parseIP(p.data[min(etherLen, len(p.data)):])
	if ok && p.toUs && g.hasVIP(d.from) && !g.hasAddr(d.to) {
		heard(&g.ARP.Routed, ARPAnswer{Addr: d.from, MAC: net.HardwareAddr(p.data[6:12]).String(), Link: g.linkName(p.link)})
	}
}

func (g *gatherer) answer(a ARPAnswer) {
	if slices.Contains(g.ARP.Asked, a.Addr) && len(g.ARP.Answers) < 64*mostQuestions && !slices.Contains(g.ARP.Answers, a) {
		g.ARP.Answers = append(g.ARP.Answers, a)
	}
}

func (g *gatherer) heardNA(p frame) {
	if a, ok := frames.Decode(p.data); ok && a.Kind == frames.Advertise && !g.isOwn(a.Owner.String()) {
		g.answer(ARPAnswer{Addr: a.Target, MAC: a.Owner.String(), Link: g.linkName(p.link), ToAny: true})
	}
}

func (g *gatherer) isOwn(mac string) bool {
	return slices.ContainsFunc(g.Links, func(l Link) bool { return l.MAC == mac })
}

func (g *gatherer) linkName(index int) string {
	for _, l := range g.Links {
		if l.Index == index {
			return l.Name
		}
	}
	return ""
}
