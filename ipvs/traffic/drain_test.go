package traffic_test

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// A server of weight 0 keeps the connections it has and gets no new ones; when
// all servers have weight 0 the client is refused.
func TestKernelDrain(t *testing.T) {
	for _, m := range []method{nat, dr} {
		t.Run(m.name, func(t *testing.T) {
			b := newBalancer(t, topo.Spec{Servers: 2, IPv6: true, Router: true}, m.prepare)
			for _, tr := range []transport{tcp, udp, sctp} {
				t.Run(tr.name, func(t *testing.T) { testDrain(t, b, m, tr) })
			}
		})
	}
}

func testDrain(t *testing.T, b *balancer, m method, tr transport) {
	vip := netip.AddrPortFrom(b.VIP6, 80)
	s := ipvs.Service{ServiceKey: ipvs.AddrService(tr.protocol, vip), Scheduler: "rr"}
	dests := b.all(m, s)
	b.add(t, s, dests...)
	b.serve(t, tr.network, 80)
	next := func(want ...string) {
		t.Helper()
		equal(t, "servers of new connections", want, b.whoNext(t, len(want), tr.network, b.Client.Addr6, vip))
	}
	weight := func(i int, w int32) {
		t.Helper()
		dests[i].Weight = w
		b.do(t, ipvs.UpdateDestination, s, dests[i])
	}
	held := map[string]*topo.Conn{}
	for range dests {
		c, server := b.open(t, tr.network, b.from(b.Client.Addr6), vip)
		held[server] = c
	}
	still := func() {
		t.Helper()
		for _, server := range []string{"rs1", "rs2"} {
			equal(t, "server of an old connection", server, whoHas(t, held[server]))
		}
	}
	weight(1, 0)
	next("rs1", "rs1", "rs1")
	still()
	weight(0, 0)
	next("refused")
	still()
	weight(1, 1)
	next("rs2", "rs2")
	still()
}
