package traffic_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// Requests that fill packets arrive by every method. A tunnel has less room in a
// packet, and the director must tell the client so: an ICMP message that gets
// lost is the usual reason why tunnels seem to work until somebody uploads.
func TestKernelLargeRequests(t *testing.T) {
	b := newBalancer(t, topo.Spec{IPv6: true, Router: true}, topo.NAT)
	for _, m := range methods {
		for _, f := range families {
			mixed := f.client(b.Client).Is4() != f.real(b.Client).Is4()
			if !mixed || m.name == "ipip" {
				t.Run(m.name+" "+f.name, func(t *testing.T) { b.testLarge(t, m, f.client(b.Client), f.real(b.Servers[0])) })
			}
		}
	}
}

func (b *balancer) testLarge(t *testing.T, m method, client, real netip.Addr) {
	vip := b.newVIP(t, m, client)
	b.add(t, ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, vip), Scheduler: "rr"}, m.destination(real, vip.Port()))
	server, err := b.Servers[0].Serve("tcp", vip.Port(), vip.Addr(), real)
	must(t, err)
	defer server.Close()
	c, _ := b.open(t, "tcp", b.from(client), vip)
	atDirector := topotest.Capture(t, b.Director, "eth0")
	_, err = c.Say(t.Context(), strings.Repeat("x", 20_000))
	must(t, err)
	equal(t, "the director told the client to send smaller packets", m.fwd == ipvs.Tunnel, b.saidTooBig(t, atDirector, client))
}

// newVIP is a virtual address that clients know nothing about yet: they remember
// for ten minutes how large packets to an address may be.
func (b *balancer) newVIP(t *testing.T, m method, client netip.Addr) netip.AddrPort {
	t.Helper()
	vip := b.from(b.vip(client))
	for _, used := range b.VIPs() {
		if used.Is4() == client.Is4() {
			vip = netip.AddrPortFrom(used.Next(), vip.Port())
		}
	}
	must(t, b.AddVIP(vip.Addr()))
	must(t, b.Prepare(m.prepare))
	return vip
}

func (b *balancer) saidTooBig(t *testing.T, c *topo.Capture, client netip.Addr) bool {
	t.Helper()
	for _, p := range b.packets(t, c) {
		if p.Out && p.Dst.Addr() == client && (p.Proto+" "+p.Detail == "icmp 3/4" || p.Proto+" "+p.Detail == "icmp6 2/0") {
			return true
		}
	}
	return false
}
