package fullnat

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
)

// The table of ghosts against a map, while the queue grows, goes round its chunks
// and empties: what the clock or a new connection ended is not found, all else is.
func TestGhostTable(t *testing.T) {
	model, err := sched.New(0, ipvs.Service{Scheduler: "rr", ServiceKey: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80"))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := model.AddServer(0, ipvs.Destination{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1}); err != nil {
		t.Fatal(err)
	}
	svc := &service{sched: model}
	l := &loop{}
	at := &virtual{ln: &listener{loop: l, svc: svc}, fd: -1} // as of a diverted service
	q := &l.ghosts[0]
	rnd := rand.New(rand.NewPCG(1, 1))
	type key struct{ client, port byte }
	ends := map[key]time.Duration{} // of the ghosts that count
	conn := func(k key) *conn {
		return &conn{svc: svc, at: at, client: newSockaddr(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 1, k.client}), uint16(k.port)))}
	}
	for range 40_000 {
		k := key{byte(rnd.IntN(64)), byte(rnd.IntN(64))}
		switch rnd.IntN(20) {
		case 0:
			l.now += time.Duration(rnd.IntN(4)) * time.Second
			q.expire(l, l.now)
			for k, at := range ends {
				if at <= l.now {
					delete(ends, k)
				}
			}
		default: // a connection begins, and ends soon
			c := conn(k)
			choice, _ := model.Choose(l.now, c.client.unscoped(), svc.key.Addr)
			model.Bind(l.now, &c.hold, choice, ipvs.TCP)
			from := c.client.unscoped()
			if _, known := ends[k]; known != (q.find(at, from.Addr().As16(), from.Port()) != nil) {
				t.Fatalf("%v after %v: known %v", k, l.now, known)
			}
			earlier := l.exorcise(at, c.client)
			model.End(l.now, &earlier)
			l.haunt(c, sched.TimeWait)
			ends[k] = l.now + 2*time.Minute
		}
		if n := int(model.Servers(nil)[0].Info().Inactive); n != len(ends) {
			t.Fatalf("%d connections count, want %d", n, len(ends))
		}
	}
	l.now += time.Hour
	q.expire(l, l.now)
	if at.users != 0 {
		t.Errorf("%d are still there", at.users)
	}
	for i, b := range q.buckets {
		if b != 0 {
			t.Fatalf("bucket %d is not empty in the end", i)
		}
	}
	t.Logf("%d chunks, %d buckets", len(q.all), len(q.buckets))
}
