package traffic_test

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// One mark makes one service of several addresses, ports and protocols, which
// the servers get unchanged; and the same mark is another service in the other
// family.
func TestKernelMarkGroup(t *testing.T) {
	for _, m := range []method{nat, dr} {
		t.Run(m.name, func(t *testing.T) {
			b := newBalancer(t, topo.Spec{Servers: 2, IPv6: true, Router: true}, m.prepare)
			second := netip.MustParseAddr("192.0.2.11")
			must(t, b.AddVIP(second))
			must(t, b.Prepare(m.prepare)) // for the address that is new
			testMarkGroup(t, b, m, second)
		})
	}
}

func testMarkGroup(t *testing.T, b *balancer, m method, second netip.Addr) {
	rs1, rs2 := b.Servers[0], b.Servers[1]
	group4 := []struct {
		network string
		to      netip.AddrPort
	}{
		{"tcp", netip.AddrPortFrom(b.VIP4, 80)},
		{"tcp", netip.AddrPortFrom(b.VIP4, 443)},
		{"tcp", netip.AddrPortFrom(second, 8080)},
		{"udp", netip.AddrPortFrom(second, 53)},
	}
	web6 := netip.AddrPortFrom(b.VIP6, 80)
	for _, g := range group4 {
		b.serve(t, g.network, g.to.Port())
		must(t, b.Director.Mark(g.network, g.to, 7))
	}
	b.serve(t, "tcp", 81)
	must(t, b.Director.Mark("tcp", web6, 7))

	// A destination's port 0 keeps the port that was asked for.
	mark4 := ipvs.Service{ServiceKey: ipvs.MarkService(7, ipvs.IPv4), Scheduler: "rr"}
	mark6 := ipvs.Service{ServiceKey: ipvs.MarkService(7, ipvs.IPv6), Scheduler: "rr"}
	b.add(t, mark4, m.destination(rs1.Addr4, 0), m.destination(rs2.Addr4, 0))
	b.add(t, mark6, m.destination(rs1.Addr6, 0))

	atServer := topotest.Capture(t, rs2, "eth0")
	var got []string
	for _, g := range group4 {
		got = append(got, b.who(t, g.network, b.Client.Addr4, g.to), b.who(t, "tcp", b.Client.Addr6, web6))
	}
	equal(t, "servers of IPv4 and IPv6 connections in turn", []string{"rs2", "rs1", "rs1", "rs1", "rs2", "rs1", "rs1", "rs1"}, got)
	equal(t, "server of a port without the mark", "refused", b.who(t, "tcp", b.Client.Addr4, netip.AddrPortFrom(b.VIP4, 81)))

	to := map[uint16]bool{}
	for _, p := range b.packets(t, atServer) {
		if !p.Out && p.Proto != "icmp" {
			to[p.Dst.Port()] = true
		}
	}
	equal(t, "ports asked for at rs2", map[uint16]bool{80: true, 8080: true}, to)

	must(t, b.ipvs.Do(ipvs.Change{Op: ipvs.DeleteService, Service: mark4}))
	equal(t, "IPv4 after its service is gone", "refused", b.who(t, "tcp", b.Client.Addr4, group4[0].to))
	equal(t, "IPv6 after that", "rs1", b.who(t, "tcp", b.Client.Addr6, web6))
}
