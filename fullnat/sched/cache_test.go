package sched

import (
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

func virtual(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
}

func marked(scheduler string) ipvs.Service {
	return ipvs.Service{ServiceKey: ipvs.MarkService(1, ipvs.IPv4), Scheduler: scheduler}
}

func TestLBLCKeepsAddressesApart(t *testing.T) {
	b := newBench(t, marked("lblc"), 1, 1)
	b.want("two addresses", "B A B B A", b.to(client, virtual(1))+" "+b.to(client, virtual(2))+" "+
		b.to(client, virtual(1))+" "+b.to(client, virtual(1))+" "+b.to(client, virtual(2)))
	b.must(b.DeleteServer(0, serverAddr(1)))
	b.want("its server deleted", "A", b.to(client, virtual(1)))
	b.must(b.AddServer(0, server(1, 1)))
	b.want("it moved for good", "A", b.to(client, virtual(1)))
}

// What is not asked for is forgotten at the first full run after its expiration.
func TestCacheExpires(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		b := newBench(t, marked(name), 1, 1)
		b.settings.LBLCExpiration, b.settings.LBLCRExpiration = 40*time.Minute, 40*time.Minute
		b.to(client, virtual(1))
		d := b.Server(serverAddr(1))
		b.Advance(59 * time.Minute)
		b.equal(name+" before the second full run", int32(1), d.cached)
		b.Advance(60 * time.Minute)
		b.equal(name+" after it", int32(0), d.cached)
	}
}

// A cache that is too full forgets early, down to a goal.
func TestCacheIsBounded(t *testing.T) {
	b := newBench(t, marked("lblc"), 1)
	const n = cacheLimit + 3000
	for i := range n {
		b.Choose(0, client, virtual(i))
	}
	l := b.scheduler.(*lblc)
	b.Advance(5 * time.Minute)
	b.equal("all are young", n, l.cache.entries)
	b.Advance(6 * time.Minute)
	if gone := n - l.cache.entries; gone < 4000 || gone > 4100 {
		t.Errorf("%d entries forgotten, want 4000 and the rest of a bucket", gone)
	}
	b.equal("references", int32(l.cache.entries), b.Server(serverAddr(0)).cached)
	b.must(b.Update(0, ipvs.Service{Scheduler: "rr"}))
	b.equal("references of no cache", int32(0), b.Server(serverAddr(0)).cached)
}

// After a day without change the most loaded server leaves the set, but only
// when there is another.
func TestLBLCRShrinks(t *testing.T) {
	b := newBench(t, marked("lblcr"), 2, 2, 4)
	set := func() (text string) {
		for _, d := range b.scheduler.(*lblcr).cache.get(b.Service, virtual(1).Addr()).servers {
			text += letter(d)
		}
		return text
	}
	for range 11 {
		b.to(client, virtual(1))
	}
	b.want("set", "ABC", set())
	b.Advance(12 * time.Hour)
	b.want("asked for, so that it is not forgotten", "ABC", set())
	b.now = 24 * time.Hour
	b.to(client, virtual(1))
	b.want("not longer than the expiration", "ABC", set())
	b.now++ // A has 3/2 now, B 3/2 and C 6/4, and the first of equals goes
	b.want("the best of the set, which is the one that goes", "A", b.to(client, virtual(1)))
	b.want("one less", "BC", set())
	b.want("the best that is left", "B", b.to(client, virtual(1)))
	b.want("not two at once", "BC", set())
	b.equal("references of A", int32(0), b.Server(serverAddr(0)).cached)
}
