package doctor_test

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

func TestKernelNAT(t *testing.T) {
	s := newSite(t, topo.Spec{Servers: 2}, topo.NAT)
	s.healthy()
	d, rs, o := s.Director, s.Servers[0], s.onServer()
	deep := doctor.Options{Service: &s.tcp}
	ftp := s.at(ipvs.TCP, 21, "rr")
	ops := s.at(ipvs.UDP, 53, "rr")
	ops.Flags = ipvs.OnePacket
	silent := s.at(ipvs.TCP, 8001, "rr")
	first := s.destination(rs, ftp)
	s.try(
		fault{name: "nothing wrong", on: d, opts: deep, do: func() {}, undo: func() {}},
		s.knob("nat-ip-forward", d, doctor.Options{}, "net.ipv4.ip_forward", "0", "1"),
		s.knob("nat-ip-forward", d, doctor.Options{}, "net.ipv4.conf.eth0.forwarding", "0", "1"),
		s.with("ftp-helper", ftp, first),
		s.with("ops-with-nat", ops, s.destination(rs, ops)),
		fault{want: "nat-rs-gateway", name: "no route", on: rs, opts: o,
			do: func() { s.noDefault(rs, d.Addr4) }, undo: func() { s.gateway(rs, d.Addr4, 0) }},
		fault{want: "nat-rs-gateway", name: "another router", on: rs, opts: o,
			do: func() { s.gateway(rs, s.Servers[1].Addr4, 0) }, undo: func() { s.gateway(rs, d.Addr4, 0) }},
		s.apart(fault{want: "nat-rs-gateway", name: "seen by the director", on: d,
			do: func() {
				for _, rs := range s.Servers {
					s.noDefault(rs, d.Addr4)
				}
				s.dial(s.t.Context(), s.Client, silent.Addr)
				s.stuck(silent.ServiceKey)
			},
			undo: func() {
				for _, rs := range s.Servers {
					s.gateway(rs, d.Addr4, 0)
				}
			}}, silent),
		s.filtered("forward-policy-drop", "", d, doctor.Options{}, filterSpec{table: "filter", hook: "forward", drop: true,
			rules: []ruleSpec{{to: rs.Addr4, verdict: "accept"}}}),
		s.filtered("conntrack-invalid-nat", "", d, doctor.Options{}, filterSpec{table: "filter", hook: "forward",
			rules: []ruleSpec{{states: 1, verdict: "drop"}}}),
		fault{want: "sysctl-not-persistent", on: d, opts: doctor.Options{Root: "testdata/forgetful"}, do: func() {}, undo: func() {}},
		fault{want: "sysctl-not-persistent", name: "loaded too late", on: d, opts: doctor.Options{Root: "testdata/late"}, do: func() {}, undo: func() {}},
		fault{want: "rs-unreachable-l2", on: d, do: func() { s.link(s.Switch, "rs2", netlink.LinkSetDown) }, undo: func() { s.link(s.Switch, "rs2", netlink.LinkSetUp); s.resettle() }},
	)
	s.healthy()
	s.try(s.large()...)
	s.fullNAT()
}

// One arm: clients beyond the router, and one in the servers' own network.
func TestKernelOneArmNAT(t *testing.T) {
	s := newSite(t, topo.Spec{Servers: 2, Router: true}, topo.NAT)
	s.healthy()
	d := s.Director
	near := s.at(ipvs.TCP, 8001, "rr")
	s.addr(s.Switch, "br0", "10.9.0.50/16")
	s.must(s.Switch.Do(func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: netlink.NewIPNet(s.VIP4.AsSlice()), Gw: d.Addr4.AsSlice()})
	}))
	s.Switch.Addr4 = netip.MustParseAddr("10.9.0.50")
	s.try(
		s.knob("one-arm-redirect", d, doctor.Options{}, "net.ipv4.conf.eth0.send_redirects", "1", "0"),
		s.knob("one-arm-redirect", d, doctor.Options{}, "net.ipv4.conf.all.send_redirects", "1", "0"),
		s.apart(fault{want: "nat-same-subnet", on: d, do: func() { s.dial(s.t.Context(), s.Switch, near.Addr); s.stuck(near.ServiceKey) }, undo: func() {}}, near),
		s.full(),
	)
	s.healthy()
}

// full fills the table of connection tracking, which has one size for all
// namespaces.
func (s *site) full() fault {
	install, remove := s.filter(s.Director, filterSpec{table: "filter", hook: "input", rules: []ruleSpec{{states: 64, proto: unix.IPPROTO_ICMP, verdict: "accept"}}})
	return fault{want: "conntrack-table-full", on: s.Director,
		do: func() {
			s.t.Helper()
			install()
			s.must(s.Director.Sysctl("net.ipv4.vs.conntrack", "1"))
			for range 3 {
				s.works()
			}
			s.must(setMachine("net/netfilter/nf_conntrack_max", "2"))
		},
		undo: func() {
			s.t.Helper()
			s.must(setMachine("net/netfilter/nf_conntrack_max", "262144"))
			s.must(s.Director.Sysctl("net.ipv4.vs.conntrack", "0"))
			remove()
			s.must(s.Director.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }))
		}}
}
