package traffic_test

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
)

// tallies are the counters of the namespace, of a service and of the real
// servers in their order, without the rates.
type tallies struct {
	Total, Service ipvs.Stats
	Servers        []ipvs.Stats
}

// Counters are what passed the director: packets and bytes as IP counts them,
// and answers only where they come back through it.
func TestKernelCounters(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    method
		own  func(*topo.Host) netip.Addr
	}{
		{"nat, ipv4", nat, addr4},
		{"dr, ipv6", dr, addr6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBalancer(t, topo.Spec{Servers: 2, IPv6: true, Router: true}, tt.m.prepare)
			testCounters(t, b, tt.m, tt.own(b.Client))
		})
	}
}

func testCounters(t *testing.T, b *balancer, m method, client netip.Addr) {
	vip := netip.AddrPortFrom(b.vip(client), 80)
	s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, vip), Scheduler: "rr"}
	dests := b.all(m, s)
	b.add(t, s, dests...)
	b.serve(t, "tcp", 80)
	c := topotest.Capture(t, b.Director, "eth0")

	var rates [4]bool // connections, packets and bytes in, packets out
	// Rates are averages that fall while there is no traffic: a busy machine may
	// not see them in time.
	for n := uint64(9); rates != [4]bool{true, true, true, m.fwd == ipvs.NAT}; n += 9 {
		if n > 90 {
			t.Fatalf("rates: %v", rates)
		}
		b.whoNext(t, 9, "tcp", client, vip)
		soon(t, "counters", "", func() string { return compare(b.passed(t, c, n/2, n-n/2), b.tallies(t, s, dests)) })
		info, err := b.ipvs.Service(s.ServiceKey)
		must(t, err)
		r := info.Stats
		rates = [4]bool{r.CPS > 0, r.InPPS > 0, r.InBPS > 0, r.OutPPS > 0}
	}

	want := tallies{Total: b.tallies(t, s, dests).Total, Servers: make([]ipvs.Stats, len(dests))}
	must(t, b.ipvs.ZeroService(s.ServiceKey))
	equal(t, "counters of a service set to zero", want, b.tallies(t, s, dests))
	must(t, b.ipvs.Zero())
	want.Total = ipvs.Stats{}
	equal(t, "all counters set to zero", want, b.tallies(t, s, dests))
}

// passed is what the counters should be after so many connections to each of the
// real servers.
func (b *balancer) passed(t *testing.T, atDirector *topo.Capture, conns ...uint64) (sum tallies) {
	t.Helper()
	all := b.packets(t, atDirector)
	for i, h := range b.Servers {
		s := ipvs.Stats{Conns: conns[i]}
		for _, p := range all {
			switch {
			case p.Out && p.DstMAC == h.MAC:
				s.InPkts, s.InBytes = s.InPkts+1, s.InBytes+uint64(len(p.IP))
			case !p.Out && p.SrcMAC == h.MAC:
				s.OutPkts, s.OutBytes = s.OutPkts+1, s.OutBytes+uint64(len(p.IP))
			}
		}
		sum.Servers = append(sum.Servers, s)
		sum.Service.Conns += s.Conns
		sum.Service.InPkts += s.InPkts
		sum.Service.InBytes += s.InBytes
		sum.Service.OutPkts += s.OutPkts
		sum.Service.OutBytes += s.OutBytes
	}
	sum.Total = sum.Service
	return sum
}

// tallies asks the kernel, which adds them up every two seconds.
func (b *balancer) tallies(t *testing.T, s ipvs.Service, dests []ipvs.Destination) (got tallies) {
	t.Helper()
	must(t, b.Director.Do(func() error {
		f, err := procfs.Open("", procfs.StatsFile)
		if err != nil {
			return err
		}
		defer f.Close()
		got.Total, err = procfs.Stats(f)
		return err
	}))
	info, err := b.ipvs.Service(s.ServiceKey)
	must(t, err)
	got.Total, got.Service = counters(got.Total), counters(info.Stats)
	for _, d := range dests {
		got.Servers = append(got.Servers, counters(b.destination(t, s, d.Addr).Stats))
	}
	return got
}

func counters(s ipvs.Stats) ipvs.Stats {
	return ipvs.Stats{Conns: s.Conns, InPkts: s.InPkts, OutPkts: s.OutPkts, InBytes: s.InBytes, OutBytes: s.OutBytes}
}

// Open connections count as active, closed ones as inactive; UDP has no such
// thing as an end.
func TestKernelActiveInactive(t *testing.T) {
	b := newBalancer(t, topo.Spec{Router: true}, topo.NAT)
	type count struct{ Active, Inactive uint32 }
	for _, tt := range []struct {
		transport    transport
		open, closed count
	}{
		{tcp, count{2, 0}, count{1, 1}},
		{udp, count{0, 2}, count{0, 2}},
		{onePacket, count{0, 0}, count{0, 0}},
		{sctp, count{2, 0}, count{1, 1}},
	} {
		t.Run(tt.transport.name, func(t *testing.T) {
			tr := tt.transport
			s := ipvs.Service{ServiceKey: ipvs.AddrService(tr.protocol, b.from(b.VIP4)), Scheduler: "rr", Flags: tr.flags}
			d := b.all(nat, s)[0]
			b.add(t, s, d)
			b.serve(t, tr.network, s.Addr.Port())
			get := func() count {
				i := b.destination(t, s, d.Addr)
				return count{i.Active, i.Inactive}
			}
			if tr.flags == ipvs.OnePacket {
				f := flow{network: "udp", client: b.from(b.Client.Addr4), vip: s.Addr, local: d.Addr, server: b.Servers[0]}
				b.send(t, f)
				equal(t, "connections after one packet", tt.open, get())
				return
			}
			b.who(t, tr.network, b.Client.Addr4, s.Addr)
			c, _ := b.open(t, tr.network, b.from(b.Client.Addr4), s.Addr)
			soon(t, "two open connections", tt.open, get)
			must(t, c.Close())
			soon(t, "one closed", tt.closed, get)
		})
	}
}
