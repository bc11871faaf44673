package traffic_test

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// The classic NAT director stands between clients and servers: each side sees
// only its own addresses.
func TestKernelTwoArms(t *testing.T) {
	b := newBalancer(t, topo.Spec{IPv6: true}, topo.NAT)
	for _, own := range []func(*topo.Host) netip.Addr{addr4, addr6} {
		client := b.from(own(b.Client))
		f := flow{network: "tcp", client: client, vip: netip.AddrPortFrom(b.vip(client.Addr()), 80),
			local: netip.AddrPortFrom(own(b.Servers[0]), 8080), server: b.Servers[0]}
		t.Run(f.there(), func(t *testing.T) {
			s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, f.vip), Scheduler: "wlc"}
			b.add(t, s, nat.destination(f.local.Addr(), 8080))
			b.serve(t, "tcp", 8080)
			outside, inside := topotest.Capture(t, b.Director, "client1"), topotest.Capture(t, b.Director, "eth0")
			b.ask(t, f)
			equal(t, "path outside", []string{
				"in  client1 > director: " + f.there(),
				"out director > client1: " + f.back(),
			}, b.seen(t, outside))
			equal(t, "path inside", []string{
				"out director > rs1: tcp " + f.client.String() + " > " + f.local.String(),
				"in  rs1 > director: tcp " + f.local.String() + " > " + f.client.String(),
			}, b.seen(t, inside))
		})
	}
}
