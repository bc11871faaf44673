package doctor_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

func TestKernelDR(t *testing.T) {
	s := newSite(t, topo.Spec{Servers: 2, Router: true}, topo.DR)
	s.healthy()
	s.try(s.drServer()...)
	s.try(s.drDirector()...)
	s.try(s.drProbe()...)
	s.healthy()
}

// drServer are faults that show on a real server.
func (s *site) drServer() []fault {
	rs, o := s.Servers[0], s.onServer()
	const conf = "net.ipv4.conf."
	other := ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(s.VIP4, 8081))
	dns := ipvs.AddrService(ipvs.UDP, netip.AddrPortFrom(s.VIP4, 53))
	var server *topo.Server
	return []fault{
		s.knob("arp-flux-vip", rs, o, conf+"all.arp_ignore", "0", "1"),
		s.knob("arp-announce-vip", rs, o, conf+"all.arp_announce", "0", "2"),
		{want: "arp-sysctl-wrong-interface", on: rs, opts: o,
			do:   func() { s.must(rs.Sysctl(conf+"lo.arp_ignore", "1")); s.must(rs.Sysctl(conf+"all.arp_ignore", "0")) },
			undo: func() { s.must(rs.Sysctl(conf+"all.arp_ignore", "1")); s.must(rs.Sysctl(conf+"lo.arp_ignore", "0")) }},
		{want: "vip-on-ethernet", on: rs, opts: o,
			do: func() { s.addr(rs, "eth0", "192.0.2.10/32") }, undo: func() { s.noAddr(rs, "eth0", "192.0.2.10/32") }},
		{want: "rs-vip-missing", on: rs, opts: o,
			do: func() { s.noAddr(rs, "lo", "192.0.2.10/32") }, undo: func() { s.addr(rs, "lo", "192.0.2.10/32") }},
		{want: "rs-vip-missing-forwarding", on: rs, opts: o,
			do:   func() { s.noAddr(rs, "lo", "192.0.2.10/32"); s.must(rs.Sysctl("net.ipv4.ip_forward", "1")) },
			undo: func() { s.must(rs.Sysctl("net.ipv4.ip_forward", "0")); s.addr(rs, "lo", "192.0.2.10/32") }},
		{want: "lo-vip-netmask", on: rs, opts: o,
			do: func() { s.addr(rs, "lo", "192.0.2.10/24") }, undo: func() { s.noAddr(rs, "lo", "192.0.2.10/24") }},
		{want: "dr-gateway-is-director", on: rs, opts: o,
			do: func() { s.gateway(rs, s.Director.Addr4, 0) }, undo: func() { s.gateway(rs, s.Router.Addr4, 0) }},
		{want: "rp-filter-rs", on: rs, opts: o, do: func() { s.secondWay(rs); s.must(rs.Sysctl(conf+"eth0.rp_filter", "1")) },
			undo: func() { s.must(rs.Sysctl(conf+"eth0.rp_filter", "0")); s.oneWay(rs) }},
		{want: "rs-not-listening-vip", on: rs, opts: doctor.Options{Service: &other, Hints: o.Hints},
			do: func() { server = s.serve(rs, "tcp", 8081, rs.Addr4) }, undo: func() { server.Close() }},
		{want: "udp-wildcard-source", on: rs, opts: doctor.Options{Service: &dns, Hints: o.Hints},
			do: func() { server = s.serve(rs, "udp", 53, netip.IPv4Unspecified()) }, undo: func() { server.Close() }},
		s.filtered("rs-firewall", "named service", rs, o, filterSpec{table: "filter", hook: "input",
			rules: []ruleSpec{{to: s.VIP4, proto: unix.IPPROTO_TCP, port: 80, verdict: "drop"}}}),
		s.filtered("rs-firewall", "open at its own address only", rs, doctor.Options{}, filterSpec{table: "filter", hook: "input", drop: true,
			rules: []ruleSpec{{to: rs.Addr4, verdict: "accept"}}}),
		{want: "garp-on-ifup", on: rs, opts: doctor.Options{Service: &s.tcp, Hints: o.Hints, Root: "testdata/legacy"}, do: func() {}, undo: func() {}},
		{want: "sysctl-not-persistent", on: rs, opts: doctor.Options{Service: &s.tcp, Hints: o.Hints, Root: "testdata/forgetful"}, do: func() {}, undo: func() {}},
		{want: "tx-checksum", on: rs, opts: o, do: func() {}, undo: func() {}, during: func(context.Context) { s.badChecksum(s.Director, rs) }},
	}
}

// secondWay gives a real server a second interface, and its way to clients by
// it.
func (s *site) secondWay(rs *topo.Host) {
	s.t.Helper()
	s.must(rs.Do(func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "peer1"}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		peer, err := netlink.LinkByName("peer1")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(peer); err != nil {
			return err
		}
		return netlink.LinkSetUp(pair)
	}))
	s.addr(rs, "eth1", "10.77.0.1/24")
	s.must(rs.Do(func() error {
		return netlink.RouteReplace(&netlink.Route{Gw: netip.MustParseAddr("10.77.0.2").AsSlice()})
	}))
	s.noDefault(rs, s.Router.Addr4)
}

func (s *site) oneWay(rs *topo.Host) {
	s.t.Helper()
	s.link(rs, "eth1", netlink.LinkDel)
	s.gateway(rs, s.Router.Addr4, 0)
}

// noDefault takes a default route away if it is still there.
func (s *site) noDefault(h *topo.Host, via netip.Addr) {
	_ = h.Do(func() error { return netlink.RouteDel(&netlink.Route{Gw: via.AsSlice()}) })
}

// drDirector are faults that show on the director without a probe.
func (s *site) drDirector() []fault {
	d, rs := s.Director, s.Servers[0]
	const conf = "net.ipv4.conf."
	vip2 := netip.MustParseAddr("192.0.2.20")
	second := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip2, 80)), Scheduler: "rr"}
	onLAN := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("10.9.0.100:80")), Scheduler: "rr"}
	loop := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("127.0.0.1:80")), Scheduler: "rr"}
	web := s.at(ipvs.TCP, 81, "rr")
	off := s.destination(rs, web)
	off.Addr = netip.MustParseAddrPort("172.16.0.1:81")
	local := s.destination(rs, web)
	local.Addr = netip.AddrPortFrom(d.Addr4, 81)
	differs := s.destination(rs, web)
	differs.Addr = netip.AddrPortFrom(rs.Addr4, 8080)
	var waiting int
	faults := []fault{
		{want: "arp-flux-vip", on: d, do: func() { s.must(rs.Sysctl(conf+"all.arp_ignore", "0")) }, undo: func() { s.must(rs.Sysctl(conf+"all.arp_ignore", "1")) }},
		s.apart(fault{want: "arp-announce-vip", on: d, do: func() { s.must(rs.Sysctl(conf+"all.arp_announce", "0")) },
			undo: func() { s.must(rs.Sysctl(conf+"all.arp_announce", "2")) }, during: s.askAnew}, s.at(ipvs.TCP, 8001, "rr")),
		{want: "garp-on-ifup", on: d, do: func() {}, undo: func() {}, during: func(context.Context) { s.announce(rs) }},
		{want: "vip-missing-director", on: d, do: func() { s.noAddr(d, "eth0", "192.0.2.10/32") }, undo: func() { s.addr(d, "eth0", "192.0.2.10/32") }},
		{want: "vip-duplicate", on: d, do: func() { s.addr(s.Switch, "br0", "192.0.2.10/32") }, undo: func() { s.noAddr(s.Switch, "br0", "192.0.2.10/32") }},
		{want: "proxy-arp", on: d, do: s.proxy, undo: s.noProxy},
		{want: "rp-filter-director", on: d,
			do:   func() { s.noDefault(d, s.Router.Addr4); s.must(d.Sysctl(conf+"all.rp_filter", "2")) },
			undo: func() { s.must(d.Sysctl(conf+"all.rp_filter", "0")); s.gateway(d, s.Router.Addr4, 0) }},
		{want: "rs-unreachable-l2", on: d, do: func() { s.link(s.Switch, "rs2", netlink.LinkSetDown) }, undo: func() { s.link(s.Switch, "rs2", netlink.LinkSetUp); s.resettle() }},
		s.with("dr-off-link", web, off),
		s.with("localnode-listen", web, local),
		s.with("dr-port-differs", web, differs),
		s.with("service-on-127", loop, s.destination(rs, loop)),
		{want: "director-arp-ignore", on: d,
			do: func() {
				s.addr(d, "lo", "192.0.2.20/32")
				s.must(d.Sysctl(conf+"all.arp_ignore", "1"))
				s.service(second)
			},
			undo: func() {
				s.remove(second)
				s.must(d.Sysctl(conf+"all.arp_ignore", "0"))
				s.noAddr(d, "lo", "192.0.2.20/32")
			}},
		{want: "vip-secondary", on: d, do: func() { s.addr(d, "eth0", "10.9.0.100/16"); s.service(onLAN) },
			undo: func() { s.remove(onLAN); s.noAddr(d, "eth0", "10.9.0.100/16") }},
		s.apart(fault{want: "self-client", on: d, do: func() { waiting = s.connecting(d, netip.AddrPortFrom(s.VIP4, 8002)) },
			undo: func() { unix.Close(waiting) }}, s.at(ipvs.TCP, 8002, "rr")),
		s.apart(fault{want: "dr-gateway-is-director", on: d, do: func() { s.gateway(rs, d.Addr4, 0); s.gateway(s.Servers[1], d.Addr4, 0) },
			undo:   func() { s.gateway(rs, s.Router.Addr4, 0); s.gateway(s.Servers[1], s.Router.Addr4, 0) },
			during: func(ctx context.Context) { s.dial(ctx, s.Client, netip.AddrPortFrom(s.VIP4, 8003)) }}, s.at(ipvs.TCP, 8003, "rr")),
		s.filtered("firewall-drops-vip", "", d, doctor.Options{}, filterSpec{table: "filter", hook: "input", drop: true,
			rules: []ruleSpec{{proto: unix.IPPROTO_TCP, port: 22, verdict: "accept"}}}),
		s.filtered("vrrp-strict-drop", "", d, doctor.Options{}, filterSpec{table: "keepalived", hook: "input",
			rules: []ruleSpec{{to: s.VIP4, verdict: "drop"}}}),
		s.filtered("conntrack-oneway", "", d, doctor.Options{}, filterSpec{table: "filter", hook: "input",
			rules: []ruleSpec{{states: 1, verdict: "drop"}}}),
	}
	return faults
}

// drProbe are faults that the director finds by a probe.
func (s *site) drProbe() []fault {
	d, rs := s.Director, s.Servers[0]
	deep := doctor.Options{Service: &s.tcp}
	web := s.at(ipvs.TCP, 8081, "rr")
	spoofed := s.at(ipvs.TCP, 8004, "rr")
	var server []*topo.Server
	install, remove := s.filter(rs, filterSpec{table: "filter", hook: "input",
		rules: []ruleSpec{{to: s.VIP4, verdict: "reject"}}})
	lost, found := s.filter(s.Router, filterSpec{table: "filter", hook: "forward",
		rules: []ruleSpec{{from: s.VIP4, verdict: "drop"}}})
	return []fault{
		{name: "nothing wrong", on: d, opts: deep, do: func() {}, undo: func() {}},
		{want: "check-misses-vip", on: d, opts: deep,
			do: func() { s.noAddr(rs, "lo", "192.0.2.10/32") }, undo: func() { s.addr(rs, "lo", "192.0.2.10/32") }},
		{want: "rs-vip-missing-forwarding", on: d, opts: deep,
			do:   func() { s.noAddr(rs, "lo", "192.0.2.10/32"); s.must(rs.Sysctl("net.ipv4.ip_forward", "1")) },
			undo: func() { s.must(rs.Sysctl("net.ipv4.ip_forward", "0")); s.addr(rs, "lo", "192.0.2.10/32") }},
		s.rounds(),
		{want: "rs-not-listening-vip", on: d, opts: doctor.Options{Service: &web.ServiceKey},
			do: func() {
				s.service(web)
				for _, rs := range s.Servers {
					server = append(server, s.serve(rs, "tcp", 8081, rs.Addr4))
				}
			},
			undo: func() {
				s.remove(web)
				for _, x := range server {
					x.Close()
				}
			}},
		{want: "rs-firewall", on: d, opts: deep, do: install, undo: remove},
		s.apart(fault{want: "anti-spoofing", on: d, opts: doctor.Options{Service: &spoofed.ServiceKey},
			do: func() { lost(); s.dial(s.t.Context(), s.Client, spoofed.Addr); s.stuck(spoofed.ServiceKey) }, undo: found}, spoofed),
	}
}

// resettle waits until a port of the bridge passes frames again.
func (s *site) resettle() {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := s.Director.Ask(s.t.Context(), "tcp", netip.AddrPort{}, netip.AddrPortFrom(s.Servers[1].Addr4, 80))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

// askAnew has the real servers look for their gateway again to answer a client.
func (s *site) askAnew(ctx context.Context) {
	for _, rs := range s.Servers {
		_ = rs.Do(func() error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: s.Router.Addr4.AsSlice()})
		})
		s.dial(ctx, s.Client, netip.AddrPortFrom(s.VIP4, 8001))
	}
}

// proxy makes the switch answer ARP for the virtual address as a proxy: it has
// a way there by another interface.
func (s *site) proxy() {
	s.t.Helper()
	sw := s.Switch
	s.must(sw.Sysctl("net.ipv4.ip_forward", "1"))
	s.must(sw.Do(func() error {
		l := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "away"}}
		if err := netlink.LinkAdd(l); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		a, err := netlink.ParseAddr("192.0.2.1/24")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(l, a)
	}))
	s.addr(sw, "br0", "10.9.0.250/16")
	s.must(sw.Sysctl("net.ipv4.neigh.br0.proxy_delay", "0"))
	s.must(sw.Sysctl("net.ipv4.conf.br0.proxy_arp", "1"))
}

func (s *site) noProxy() {
	s.t.Helper()
	s.must(s.Switch.Sysctl("net.ipv4.conf.br0.proxy_arp", "0"))
	s.noAddr(s.Switch, "br0", "10.9.0.250/16")
	s.link(s.Switch, "away", netlink.LinkDel)
	s.must(s.Switch.Sysctl("net.ipv4.ip_forward", "0"))
}

// connecting is a socket that waits for its connection.
func (s *site) connecting(h *topo.Host, to netip.AddrPort) (fd int) {
	s.t.Helper()
	s.must(h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		if err == unix.EINPROGRESS {
			err = nil
		}
		return err
	}))
	return fd
}

// rounds: real servers without the virtual address send packets on, and the
// router sends them to the director again, where their lives end.
func (s *site) rounds() fault {
	v := s.at(ipvs.TCP, 8006, "rr")
	each := func(f func(rs *topo.Host)) {
		for _, rs := range s.Servers {
			f(rs)
		}
	}
	return s.apart(fault{want: "rs-vip-missing-forwarding", name: "by counters", on: s.Director,
		do: func() {
			s.t.Helper()
			// Three hosts take one of it in a round.
			s.must(s.Client.Sysctl("net.ipv4.ip_default_ttl", "65"))
			each(func(rs *topo.Host) {
				s.noAddr(rs, "lo", "192.0.2.10/32")
				s.must(rs.Sysctl("net.ipv4.ip_forward", "1"))
			})
			for range s.Servers {
				s.dial(s.t.Context(), s.Client, v.Addr)
			}
			s.counted(v, func(x ipvs.DestinationInfo) bool { return x.Stats.Conns > 0 && x.Stats.InPkts > 10*x.Stats.Conns })
		},
		during: func(ctx context.Context) { s.dial(ctx, s.Client, v.Addr) },
		undo: func() {
			s.t.Helper()
			each(func(rs *topo.Host) {
				s.must(rs.Sysctl("net.ipv4.ip_forward", "0"))
				s.addr(rs, "lo", "192.0.2.10/32")
			})
			s.must(s.Client.Sysctl("net.ipv4.ip_default_ttl", "64"))
		}}, v)
}
