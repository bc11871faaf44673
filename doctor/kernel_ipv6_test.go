package doctor_test

import (
	"testing"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab/topo"
)

func TestKernelIPv6DR(t *testing.T) {
	s := newSite(t, topo.Spec{Servers: 2, Router: true, IPv6: true}, topo.DR)
	s.healthy()
	s.must(s.Switch.Sysctl("net.ipv6.conf.br0.disable_ipv6", "0"))
	d, rs, o := s.Director, s.Servers[0], s.onServer()
	deep := doctor.Options{Service: &s.tcp}
	const vip = "2001:db8:ffff::10/128"
	s.try(
		fault{name: "nothing wrong", on: d, opts: deep, do: func() {}, undo: func() {}},
		fault{want: "rs-vip-missing", on: rs, opts: o, do: func() { s.noAddr(rs, "lo", vip) }, undo: func() { s.addr(rs, "lo", vip) }},
		fault{want: "check-misses-vip", on: d, opts: deep, do: func() { s.noAddr(rs, "lo", vip) }, undo: func() { s.addr(rs, "lo", vip) }},
		fault{want: "rs-vip-missing-forwarding", on: rs, opts: o,
			do:   func() { s.noAddr(rs, "lo", vip); s.must(rs.Sysctl("net.ipv6.conf.all.forwarding", "1")) },
			undo: func() { s.must(rs.Sysctl("net.ipv6.conf.all.forwarding", "0")); s.addr(rs, "lo", vip) }},
		fault{want: "vip-on-ethernet", on: rs, opts: o, do: func() { s.addr(rs, "eth0", vip) }, undo: func() { s.noAddr(rs, "eth0", vip) }},
		fault{want: "arp-flux-vip", on: d, do: func() { s.addr(rs, "eth0", vip) }, undo: func() { s.noAddr(rs, "eth0", vip) }},
		fault{want: "vip-missing-director", on: d, do: func() { s.noAddr(d, "eth0", vip) }, undo: func() { s.addr(d, "eth0", vip) }},
		fault{want: "vip-duplicate", on: d, do: func() { s.addr(s.Switch, "br0", vip) }, undo: func() { s.noAddr(s.Switch, "br0", vip) }},
		fault{want: "v6-vip-on-link", on: rs, opts: o, do: func() { s.duplicate(rs, vip) }, undo: func() { s.noAddr(rs, "eth0", vip) }},
	)
	s.healthy()
}

func TestKernelIPv6NAT(t *testing.T) {
	s := newSite(t, topo.Spec{Servers: 2, IPv6: true}, topo.NAT)
	s.healthy()
	s.try(s.knob("nat-ip-forward", s.Director, doctor.Options{}, "net.ipv6.conf.all.forwarding", "0", "1"))
	s.healthy()
}
