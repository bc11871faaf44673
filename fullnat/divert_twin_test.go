package fullnat_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// TestKernelPlaneTwin: services of firewall marks and of port 0 choose as IPVS
// does, and reach the same port, whatever addresses, ports and protocols clients
// use; with and without persistence, while servers are drained and come back. It
// takes a kernel with both IPVS and TPROXY.
func TestKernelPlaneTwin(t *testing.T) {
	lab.Need(t)
	ours := newDivertNet(t, 2)
	n, err := topo.New(topo.Spec{Clients: 2, Servers: 2, IPv6: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if err := n.Prepare(topo.NAT); err != nil {
		t.Fatal(err)
	}
	kernel := &divertNet{Net: n, t: t}
	kernel.serve()
	var k *ipvs.Client
	kernel.on(n.Director, func() (err error) { k, err = ipvs.Dial(ipvs.Options{}); return err })
	defer k.Close()
	vips := map[ipvs.Family][]netip.Addr{ipvs.IPv4: {n.VIP4, netip.MustParseAddr("192.0.2.11")}, ipvs.IPv6: {n.VIP6, netip.MustParseAddr("2001:db8:ffff::11")}}
	for _, d := range []*divertNet{ours, kernel} {
		for _, list := range vips {
			if err := d.AddVIP(list[1]); err != nil {
				t.Fatal(err)
			}
			d.mark(list...)
		}
	}
	const seed = 7
	rnd := rand.New(rand.NewPCG(seed, seed))
	ports, choices := uint16(20000), 0
	for i, kind := range []struct {
		scheduler string
		mark      bool
		family    ipvs.Family
		flags     ipvs.Flags
		prefix    int
		port      uint16 // of the servers
	}{
		{"rr", true, ipvs.IPv4, 0, 0, divertPort},
		{"wlc", true, ipvs.IPv6, 0, 0, 0},
		{"sh", true, ipvs.IPv4, ipvs.Sched2, 0, 0}, // by the client's port, too
		{"dh", true, ipvs.IPv6, 0, 0, 0},
		{"rr", true, ipvs.IPv4, ipvs.Persistent, 32, divertPort},
		{"rr", true, ipvs.IPv6, ipvs.Persistent, 128, 0},
		{"wlc", true, ipvs.IPv4, ipvs.Persistent, 8, 0},
		{"rr", false, ipvs.IPv4, ipvs.Persistent, 32, divertPort},
		{"lblc", false, ipvs.IPv6, ipvs.Persistent, 128, 0},
	} {
		key := ipvs.MarkService(divertMark, kind.family)
		if !kind.mark {
			key = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vips[kind.family][0], 0))
		}
		s := ours.service(key, kind.port, kind.flags)
		s.Scheduler = kind.scheduler
		if kind.prefix != 0 {
			m, err := ipvs.PrefixMask(kind.family, kind.prefix)
			if err != nil {
				t.Fatal(err)
			}
			s.Netmask = m
		}
		apply := func() {
			t.Helper()
			ours.apply(s)
			e := ipvs.Entry{Service: s.Service}
			for _, d := range s.Destinations {
				d.Method = ipvs.NAT
				e.Destinations = append(e.Destinations, d)
			}
			if _, err := ipvs.Reconcile(k, ipvs.Table{e}, ipvs.ReconcileOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		apply()
		for step := range 20 {
			if rnd.IntN(6) == 0 {
				drained := rnd.IntN(2)
				s.Destinations[drained].Weight = int32(rnd.IntN(2))
				s.Destinations[1-drained].Weight = 1
				apply()
			}
			network, vip, client := "tcp", vips[kind.family][0], rnd.IntN(2)
			if kind.mark {
				network, vip = []string{"tcp", "udp"}[rnd.IntN(2)], vips[kind.family][rnd.IntN(2)]
			}
			to := netip.AddrPortFrom(vip, []uint16{80, 443, 53}[rnd.IntN(3)])
			ports++
			ask := func(d *divertNet) string {
				from := d.Clients[client].Addr4
				if kind.family == ipvs.IPv6 {
					from = d.Clients[client].Addr6
				}
				c, err := d.Clients[client].Dial(t.Context(), network, netip.AddrPortFrom(from, ports), to)
				if err != nil {
					return "nobody"
				}
				defer c.Close()
				a, err := c.Ask(t.Context())
				if err != nil {
					return "nobody"
				}
				return fmt.Sprint(a.Server, " ", a.Local.Port())
			}
			choices++
			if a, b := ask(kernel), ask(ours); a != b {
				t.Fatalf("kind %d (%+v), step %d: %s %s from client %d goes to %s in the kernel and to %s in user space; weights %d and %d", i, kind, step, network, to, client, a, b, s.Destinations[0].Weight, s.Destinations[1].Weight)
			}
		}
		s.Destinations = nil
		ours.apply()
		if _, err := ipvs.Reconcile(k, nil, ipvs.ReconcileOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d choices agree", choices)
}
