package traffic_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// A server at its upper threshold gets no more connections until it is below the
// lower one, and when all are full the client is refused. By direct routing the
// time-out of a closed connection can be set.
func TestKernelThresholds(t *testing.T) {
	b := newBalancer(t, topo.Spec{Servers: 2, Router: true}, topo.DR)
	must(t, b.ipvs.SetTimeouts(ipvs.Timeouts{TCPFin: time.Second}))
	vip := netip.AddrPortFrom(b.VIP4, 80)
	s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, vip), Scheduler: "rr"}
	dests := b.all(dr, s)
	dests[0].Upper, dests[0].Lower = 2, 1
	dests[1].Upper, dests[1].Lower = 3, 2
	b.add(t, s, dests...)
	b.serve(t, "tcp", 80)

	var held []*topo.Conn
	next := func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			c, server := b.open(t, "tcp", b.from(b.Client.Addr4), vip)
			got = append(got, server)
			if server == "rs2" {
				held = append(held, c)
			}
		}
		equal(t, "servers of the next connections", want, got)
	}
	end := func(left uint32) {
		t.Helper()
		must(t, held[0].Close())
		held = held[1:]
		soon(t, "connections at rs2", left, func() uint32 {
			d := b.destination(t, s, dests[1].Addr)
			return d.Active + d.Inactive
		})
	}
	next("rs2", "rs1", "rs2", "rs1", "rs2", "refused", "refused")
	end(2) // not below 2
	next("refused")
	end(1)
	next("rs2", "rs2", "refused")

	// Raised, with its connections below the lower one: there is room at once.
	// Were they not, that would depend on the kernel: stable ones of late 2026
	// (6.1.192, not yet 6.1.176) go by the lower one here, too.
	dests[0].Upper, dests[0].Lower = 4, 3
	b.do(t, ipvs.UpdateDestination, s, dests[0])
	next("rs1", "rs1", "refused")
}
