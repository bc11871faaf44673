package sched

import (
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

func from(a string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(a), 1000) }

func persistent(timeout time.Duration, m ipvs.Netmask) ipvs.Service {
	return ipvs.Service{Scheduler: "rr", Flags: ipvs.Persistent, Timeout: timeout, Netmask: m}
}

func TestPersistence(t *testing.T) {
	m, _ := ipvs.PrefixMask(ipvs.IPv4, 24)
	b := newBench(t, persistent(time.Minute, m), 1, 1, 1)
	b.want("first", "C", b.open(from("10.1.1.1")))
	b.want("its neighbour", "C", b.open(from("10.1.1.200")))
	b.want("another", "B", b.open(from("10.1.2.1")))
	b.equal("C", [3]uint32{2, 0, 1}, b.row(2))

	b.must(b.UpdateServer(0, limited(2, 0, 2, 0)))
	b.want("weight 0", "C", b.open(from("10.1.1.3")))
	b.want("weight 0 and overloaded", "C", b.open(from("10.1.1.4")))
	b.settings.ExpireQuiescentTemplate = true
	b.want("quiescent", "A", b.open(from("10.1.1.5")))
	b.must(b.UpdateServer(0, server(2, 1)))
	b.want("the new template stays", "A", b.open(from("10.1.1.6")))
	b.equal("C has the old template still", [3]uint32{4, 0, 1}, b.row(2))

	b.must(b.DeleteServer(0, serverAddr(0)))
	b.want("its server deleted", "C", b.open(from("10.1.1.7")))
	b.must(b.Update(0, ipvs.Service{Scheduler: "rr"}))
	b.want("no more persistence", "B C", b.open(from("10.1.1.7"))+" "+b.open(from("10.1.1.7")))
}

// The kernel cannot hide a template of port 65535: it is found again when nothing
// newer is.
func TestTemplatesOfTheLastPort(t *testing.T) {
	c := persistent(time.Minute, ipvs.Netmask{})
	c.ServiceKey = ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.10:65535"))
	b := newBench(t, c, 1, 1)
	b.settings.ExpireQuiescentTemplate = true
	b.want("first", "B", b.opens(1))
	b.must(b.UpdateServer(0, server(1, 0)))
	b.want("quiescent", "A", b.opens(1))
	b.must(b.UpdateServer(0, server(1, 1)))
	b.want("the newer one", "A", b.opens(1))
	b.must(b.DeleteServer(0, serverAddr(0)))
	b.want("the newest", "B", b.opens(1))
	b.must(b.AddServer(0, server(0, 1)))
	b.want("it still is", "B", b.opens(1))
	b.equal("A", [3]uint32{2, 0, 1}, b.row(0))
	b.equal("B", [3]uint32{3, 0, 2}, b.row(1))
	for i := range b.conns {
		b.End(0, b.conns[i])
	}
	b.now = 30 * time.Second
	b.must(b.UpdateServer(b.now, server(1, 0)))
	b.want("neither the newest nor the oldest", "A", b.opens(1))
	b.must(b.UpdateServer(b.now, server(0, 0)))
	b.want("none", "-", b.opens(1))
	b.must(b.UpdateServer(b.now, server(1, 1)))
	b.now = 59 * time.Second
	b.Advance(b.now)
	b.equal("B", [3]uint32{0, 0, 2}, b.row(1))
	b.now = 60 * time.Second
	b.Advance(b.now)
	b.equal("B, later", [3]uint32{}, b.row(1))
}

func TestNetmasks(t *testing.T) {
	odd := ipvs.Netmask4([4]byte{255, 0, 255, 0})
	m36, _ := ipvs.PrefixMask(ipvs.IPv6, 36)
	for _, tc := range []struct {
		f        ipvs.Family
		m        ipvs.Netmask
		a, b     string
		together bool
	}{
		{ipvs.IPv4, ipvs.Netmask{}, "10.0.0.1", "10.0.0.2", false},
		{ipvs.IPv4, odd, "10.1.7.1", "10.2.7.2", true},
		{ipvs.IPv4, odd, "10.1.7.1", "10.1.8.1", false},
		{ipvs.IPv4, ipvs.Netmask4([4]byte{}), "10.1.7.1", "192.0.2.1", true},
		{ipvs.IPv6, ipvs.Netmask{}, "2001:db8::1", "2001:db8::2", false},
		{ipvs.IPv6, m36, "2001:db8:1000::1", "2001:db8:1fff::1", true},
		{ipvs.IPv6, m36, "2001:db8:1000::1", "2001:db8:2000::1", false},
	} {
		a, b := mask(netip.MustParseAddr(tc.a), tc.f, tc.m), mask(netip.MustParseAddr(tc.b), tc.f, tc.m)
		if (a == b) != tc.together {
			t.Errorf("%s: %s and %s together: %v", tc.m.Text(tc.f), tc.a, tc.b, a == b)
		}
	}
}

// A template lives its timeout after the last new connection, and a minute once
// it ran out while connections were there.
func TestTemplateTimer(t *testing.T) {
	b := newBench(t, persistent(10*time.Second, ipvs.Netmask{}), 1)
	count := func(at time.Duration, want uint32) {
		t.Helper()
		b.now = at
		b.Advance(at)
		b.equal(at.String(), want, b.row(0)[2])
	}
	b.open(client)
	count(9*time.Second, 1)
	b.open(client) // restarts it
	b.End(b.now, b.conns[0])
	b.End(b.now, b.conns[1])
	count(18*time.Second, 1)
	count(19*time.Second, 0)

	b.open(client)
	count(29*time.Second, 1) // held: from now on it is a minute
	b.End(b.now, b.conns[2])
	count(88*time.Second, 1)
	b.open(client)
	b.End(b.now, b.conns[3])
	count(147*time.Second, 1)
	count(148*time.Second, 0)
}

// The end of a template applies the lower threshold.
func TestTemplateEndClearsTheFlag(t *testing.T) {
	b := newBench(t, persistent(10*time.Second, ipvs.Netmask{}))
	b.must(b.AddServer(0, limited(0, 1, 2, 0)))
	b.want("full", "A A -", b.open(from("10.0.1.1"))+" "+b.open(from("10.0.1.2"))+" "+b.open(from("10.0.1.3")))
	b.must(b.UpdateServer(0, limited(0, 1, 2, 2))) // below 2 is enough now, but nothing ends
	b.must(b.DeleteServer(0, serverAddr(0)))
	b.must(b.AddServer(0, limited(0, 1, 2, 2)))
	b.want("full still", "-", b.open(from("10.0.1.3")))
	b.End(0, b.conns[0])
	b.want("one left", "A", b.open(from("10.0.1.3")))
}
