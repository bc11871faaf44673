package fullnat_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// Streams at full speed, through copies and pipes, leave their loop's other
// connections their turn.
func TestBudget(t *testing.T) {
	n := newNetwork()
	hose := serveTCP(t, n.addr(11), func(c *net.TCPConn) {
		b := make([]byte, 1<<20)
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})
	rs := serveTCP(t, n.addr(12), echo)
	e := start(t, fullnat.Config{Loops: 1})
	bulk, small := tcpService(t, n.addr(1), "rr", hose), tcpService(t, n.addr(2), "rr", rs)
	apply(t, e, bulk, small)
	var moved atomic.Int64
	var wg sync.WaitGroup
	var streams []net.Conn
	for range 3 {
		c := dial(t, bulk.Addr)
		streams = append(streams, c)
		wg.Go(func() {
			b := make([]byte, 1<<20)
			for {
				n, err := c.Read(b)
				moved.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	eventually(t, "streams run", func() bool { return moved.Load() > 16<<20 })
	began := time.Now()
	if err := exchange(dial(t, small.Addr), 40); err != nil {
		t.Fatal(err)
	}
	t.Logf("40 requests in %v beside three streams, which moved %d MB", time.Since(began), moved.Load()>>20)
	for _, c := range streams {
		c.Close()
	}
	wg.Wait()
}

// A VIP need not be here yet: it may move to this machine later.
func TestAddressToCome(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	e := start(t, fullnat.Config{Loops: 2})
	for _, vip := range []string{"192.0.2.77:8077", "[2001:db8::77]:8077"} {
		for _, p := range []ipvs.Protocol{ipvs.TCP, ipvs.UDP} {
			s := tcpService(t, n.addr(1), "rr", rs)
			s.ServiceKey = ipvs.AddrService(p, netip.MustParseAddrPort(vip))
			apply(t, e, s)
		}
	}
}

// LIPs are not counted off in step with servers: each server sees all of them,
// and they have about even shares.
func TestLocalsNotInStep(t *testing.T) {
	n := newNetwork()
	seen := map[string]int{}
	var mu sync.Mutex
	handle := func(name string) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			mu.Lock()
			seen[fmt.Sprint(name, " ", c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())]++
			mu.Unlock()
			io.WriteString(c, name)
		}
	}
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), handle("a")), serveTCP(t, n.addr(12), handle("b")))
	s.Options.Locals = n.locals(4)
	apply(t, e, s)
	for range 400 {
		ask(t, s.Addr)
	}
	for _, name := range []string{"a", "b"} {
		for _, lip := range s.Options.Locals {
			if got := seen[fmt.Sprint(name, " ", lip)]; got < 20 || got > 90 { // 50 on average
				t.Errorf("server %s saw %s %d times of 200", name, lip, got)
			}
		}
	}
	for _, l := range e.Services()[0].Locals {
		if l.Total < 60 || l.Total > 140 {
			t.Errorf("%s had %d connections of 400", l.Addr, l.Total)
		}
	}
}
