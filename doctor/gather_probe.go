package doctor

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
)

// probes sends packets to the real servers of the one service that was asked
// for. Of other services only those are tried, by a plain connection to their
// own address, whose clients wait for an answer.
func (g *gatherer) probes() {
	var shots []*shot
	for _, s := range g.Services {
		for _, d := range g.remote(s, ipvs.NAT, ipvs.DirectRoute, ipvs.Tunnel) {
			_, waiting := g.stuck(s, d)
			if g.Facts.Hints.Service == nil && !waiting || len(g.Facts.Probes) >= mostQuestions {
				continue
			}
			g.Facts.Probes = append(g.Facts.Probes, Probe{Service: s.ServiceKey.String(), Destination: d.Addr.String(), Method: d.Method.String(),
				Direct: g.connect(s, d)})
			if g.Facts.Hints.Service != nil && d.Method != ipvs.NAT {
				shots = append(shots, &shot{service: s, destination: d, index: len(g.Facts.Probes) - 1})
			}
		}
	}
	g.shoot(shots)
	for i := range g.Facts.Probes {
		if p := &g.Facts.Probes[i]; p.Method == ipvs.NAT.String() {
			p.Outcome = p.Direct
		}
	}
}

// connect makes a connection to the real server's own address, and ends it.
func (g *gatherer) connect(s Service, d ipvs.DestinationInfo) Outcome {
	network := map[ipvs.Protocol]string{ipvs.TCP: "tcp", ipvs.UDP: "udp"}[s.Protocol]
	if network == "" || d.Addr.Port() == 0 {
		return NotTried
	}
	c, err := net.DialTimeout(network, d.Addr.String(), g.Wait)
	if err != nil {
		return outcomeOf(err)
	}
	defer c.Close()
	if network == "tcp" {
		return Answered
	}
	_ = c.SetDeadline(time.Now().Add(g.Wait))
	if _, err := c.Write(nil); err != nil {
		return outcomeOf(err)
	}
	_, err = c.Read(make([]byte, 1))
	return outcomeOf(err)
}

func outcomeOf(err error) Outcome {
	var timeout net.Error
	switch {
	case err == nil:
		return Answered
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.As(err, &timeout) && timeout.Timeout():
		return Silent
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EACCES):
		return Forbidden
	}
	return Unsent
}

// shot is one packet on its way to a real server.
type shot struct {
	service     Service
	destination ipvs.DestinationInfo
	index       int            // of its Probe
	from        netip.AddrPort // of this host: a port that is ours for the time
	fd          int
	next        string // MAC address of the real server, DR only
	link        Link
}

// vip is the address and port of the packet.
func (s *shot) vip() netip.AddrPort { return s.service.Addr }

// shoot sends a SYN or a datagram for the virtual address to each real server,
// and hears what comes back. The sender is this host's own address, not the
// virtual one, so that the real server answers it directly; the stack here
// refuses that answer, since it bears our virtual address as source, but it is
// seen on the wire.
func (g *gatherer) shoot(shots []*shot) {
	shots = slices.DeleteFunc(shots, func(s *shot) bool { return !g.aim(s) })
	if len(shots) == 0 {
		return
	}
	defer func() {
		for _, s := range shots {
			unix.Close(s.fd)
		}
	}()
	proto := uint16(unix.ETH_P_IP)
	if shots[0].vip().Addr().Is6() {
		proto = unix.ETH_P_IPV6
	}
	w, err := openWire(proto, addressed(shots[0].from.Addr())...)
	if err != nil {
		g.note("whether real servers answer for the virtual address", err)
		return
	}
	defer w.close()
	for _, s := range shots {
		p := &g.Facts.Probes[s.index]
		if p.Outcome = Silent; s.send(w, synFlag) != nil {
			p.Outcome = Unsent
		}
	}
	g.collect(w, shots)
}

func (g *gatherer) collect(w *wire, shots []*shot) {
	left := len(shots)
	w.readWhile(time.Now().Add(g.Wait), func(f frame) bool {
		for _, s := range shots {
			p := &g.Facts.Probes[s.index]
			outcome, detail := s.judge(f.data)
			if outcome == NotTried || p.Outcome != Silent {
				continue
			}
			p.Outcome, p.Detail, p.MAC = outcome, detail, net.HardwareAddr(f.data[6:12]).String()
			if outcome == Answered && s.service.Protocol == ipvs.TCP {
				_ = s.send(w, rstFlag) // the other end need not wait for the rest
			}
			left--
		}
		return left > 0
	})
}

// aim finds what a packet to the real server needs.
func (g *gatherer) aim(s *shot) bool {
	p := &g.Facts.Probes[s.index]
	rip := s.destination.Addr.Addr()
	r, ok := g.route(rip, netip.Addr{}, "")
	link, known := g.link(r.Oif)
	p.Outcome = Unsent
	if !ok || !known || !s.vip().IsValid() || s.vip().Port() == 0 || s.service.Protocol != ipvs.TCP && s.service.Protocol != ipvs.UDP {
		p.Detail = "no way to make such a packet"
		return false
	}
	s.link = link
	from := r.Src
	if !from.IsValid() || from.Is4() != s.vip().Addr().Is4() || g.hasVIP(from) {
		from = g.sender(link.Name, s.vip().Addr())
	}
	if s.destination.Method == ipvs.DirectRoute {
		if s.next = g.macOf(rip); s.next == "" {
			p.Detail = "the real server's MAC address is not known"
			return false
		}
	}
	if !from.IsValid() || !s.bind(from) {
		p.Detail = "no address of this host to send from"
		return false
	}
	return true
}

// sender is an address of this host that is not virtual, if possible of the
// link.
func (g *gatherer) sender(link string, vip netip.Addr) (best netip.Addr) {
	for _, a := range g.Addrs {
		if a.Addr().Is4() == vip.Is4() && a.Addr().IsGlobalUnicast() && !g.hasVIP(a.Addr()) && (a.Link == link || !best.IsValid()) {
			best = a.Addr()
		}
	}
	return best
}

func (g *gatherer) macOf(rip netip.Addr) string {
	for _, a := range g.ARP.Answers {
		if a.Addr == rip {
			return a.MAC
		}
	}
	n, _ := g.neighbour(rip)
	return n.MAC
}

// bind takes a port, so that nobody else on the host uses it meanwhile.
func (s *shot) bind(from netip.Addr) bool {
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	var at unix.Sockaddr = &unix.SockaddrInet6{Addr: from.As16()}
	if from.Is4() {
		at = &unix.SockaddrInet4{Addr: from.As4()}
	} else {
		domain = unix.AF_INET6
	}
	if s.service.Protocol == ipvs.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if err := unix.Bind(fd, at); err != nil {
		unix.Close(fd)
		return false
	}
	name, _ := unix.Getsockname(fd)
	port := 0
	switch n := name.(type) {
	case *unix.SockaddrInet4:
		port = n.Port
	case *unix.SockaddrInet6:
		port = n.Port
	}
	s.fd, s.from = fd, netip.AddrPortFrom(from, uint16(port))
	return port != 0
}
