package doctor_test

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
)

func TestKernelIPIP(t *testing.T) { testTunnel(t, topo.IPIP, "ipip4in4", 1440) }
func TestKernelGRE(t *testing.T)  { testTunnel(t, topo.GRE, "grein4", 1436) }
func TestKernelGUE(t *testing.T)  { testTunnel(t, topo.GUE, "ipip4in4", 1428) }

func testTunnel(t *testing.T, m topo.Method, dev string, mss int) {
	lab.Need(t)
	// No tunl0 and gre0 that are down in every namespace.
	if err := setMachine("net/core/fb_tunnels_only_for_init_net", "2"); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, topo.Spec{Servers: 2, Router: true}, m)
	s.healthy()
	d, rs, o := s.Director, s.Servers[0], s.onServer()
	deep := doctor.Options{Service: &s.tcp}
	down := func() { s.link(rs, dev, netlink.LinkSetDown) }
	up := func() { s.link(rs, dev, netlink.LinkSetUp) }
	gone := func() { s.link(rs, dev, netlink.LinkDel) }
	again := func() { s.must(s.Prepare(m, rs)); s.gateway(rs, s.Router.Addr4, mss) }
	faults := []fault{
		{name: "nothing wrong", on: d, opts: deep, do: func() {}, undo: func() {}},
		s.knob("tun-rp-filter", rs, o, "net.ipv4.conf.all.rp_filter", "1", "0"),
		s.knob("tun-rp-filter", rs, o, "net.ipv4.conf."+dev+".rp_filter", "2", "0"),
		s.knob("check-misses-vip", d, deep, "net.ipv4.conf.all.rp_filter", "0", "0"),
		{want: "tun-mtu", on: rs, opts: o, do: func() { s.gateway(rs, s.Router.Addr4, 0) }, undo: func() { s.gateway(rs, s.Router.Addr4, mss) }},
		{want: "tun-device-down", on: rs, opts: o, do: down, undo: up},
		{want: "tun-no-receiver", on: rs, opts: o, do: gone, undo: again},
		s.filtered("rs-firewall", "tunnel's protocol", rs, o, filterSpec{table: "filter", hook: "input",
			rules: []ruleSpec{{from: d.Addr4, proto: map[topo.Method]byte{topo.IPIP: 4, topo.GRE: 47, topo.GUE: 17}[m], verdict: "drop"}}}),
	}
	faults[3].do = func() { s.must(rs.Sysctl("net.ipv4.conf."+dev+".rp_filter", "1")) }
	faults[3].undo = func() { s.must(rs.Sysctl("net.ipv4.conf."+dev+".rp_filter", "0")) }
	if m == topo.IPIP {
		faults = append(faults, fault{want: "tun-device-down", name: "probe", on: d, opts: deep, do: down, undo: up})
	}
	if m == topo.GRE {
		faults = append(faults, fault{want: "tun-no-receiver", name: "probe", on: d, opts: deep, do: gone, undo: again})
	}
	if m == topo.GUE {
		faults = append(faults, fault{want: "tun-no-receiver", name: "probe", on: d, opts: deep, do: func() { s.noPort(rs) }, undo: again})
	}
	s.try(faults...)
	if m == topo.IPIP {
		s.try(s.sizes()...)
	}
	s.healthy()
}

// noPort closes the UDP port of GUE on a real server.
func (s *site) noPort(rs *topo.Host) {
	s.t.Helper()
	s.must(rs.Do(func() error {
		return netlink.FouDel(netlink.Fou{Family: netlink.FAMILY_V4, Port: topo.GUEPort, EncapType: netlink.FOU_ENCAP_GUE})
	}))
}
