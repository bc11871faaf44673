package fullnat_test

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
)

// costly is a service with all that costs something switched on.
func costly(t *testing.T, handle func(*net.TCPConn)) fullnat.Service {
	n := newNetwork()
	s := tcpService(t, n.addr(1), "wlc", serveTCP(t, n.addr(11), handle), serveTCP(t, n.addr(12), handle))
	for i := range s.Destinations {
		s.Destinations[i].Upper = 1 << 30
	}
	s.Options = fullnat.Options{Locals: n.locals(8), ProxyProtocol: fullnat.ProxyV2, ConnectTimeout: time.Minute}
	return s
}

// header is how long the PROXY header is that costly servers skip.
const header = 28

// oneAnswer is a server of short connections: it answers once and closes.
func oneAnswer(c *net.TCPConn) {
	b := make([]byte, header+64)
	if _, err := io.ReadFull(c, b); err == nil {
		c.Write(b[header:])
	}
}

// answers is a server of connections that live on.
func answers(c *net.TCPConn) {
	b := make([]byte, header+64)
	if _, err := io.ReadFull(c, b[:header]); err != nil {
		return
	}
	for {
		if _, err := io.ReadFull(c, b[:64]); err != nil {
			return
		}
		c.Write(b[:64])
	}
}

// requests makes connections, each with so many requests, from several clients
// at a time.
func requests(t *testing.T, to netip.AddrPort, clients, conns, each int) {
	t.Helper()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range conns {
				if err := session(to, each); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func session(to netip.AddrPort, each int) error {
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	return exchange(c, each)
}

// exchange makes requests of 64 bytes and reads their answers.
func exchange(c net.Conn, n int) error {
	_ = c.SetDeadline(time.Now().Add(3 * time.Minute)) // every system call of the other side is stopped and counted
	b := make([]byte, 64)
	for range n {
		if _, err := c.Write(b); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
	}
	return nil
}

// A connection allocates nothing once memory for as many has been used before.
func TestNoAllocations(t *testing.T) {
	for _, test := range []struct {
		name        string
		handle      func(*net.TCPConn)
		conns, each int
	}{
		{"short connections", oneAnswer, 150, 1},
		{"requests", answers, 1, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := costly(t, test.handle)
			c, _ := spawn(t, childSpec{Services: []fullnat.Service{s}, Loops: 2})
			requests(t, s.Addr, 8, test.conns, test.each) // the ghosts' memory, too, is warm after this
			requests(t, s.Addr, 8, test.conns, test.each)
			before := c.tell("gc")
			own := c.tell("gc").Mallocs - before.Mallocs // what a report costs
			before, began := c.report(), time.Now()
			requests(t, s.Addr, 8, test.conns, test.each)
			got, took := int64(c.report().Mallocs-before.Mallocs)-int64(own), time.Since(began)
			t.Logf("%d allocations for %d connections with %d requests each in %v, beside %d of a report", got, 8*test.conns, test.each, took, own)
			// Ghosts come in chunks of hundreds, as long as there are more than ever. Every
			// two seconds the engine's estimator reads a file.
			if most := int64(8*test.conns/100+20) + 30*int64(took/(2*time.Second)+1); got > most {
				t.Errorf("%d allocations, at most %d are from elsewhere", got, most)
			}
		})
	}
}

// System calls are what a proxy spends its time on, and the one cost that no
// other load of the machine changes. io_uring makes fewer, how many fewer
// depends on how many connections have something to do at a time.
func TestSystemCallsPerConnection(t *testing.T) {
	const clients, conns = 64, 10
	inBothWays(t, oneAnswer, func(t *testing.T, s fullnat.Service, c *child, r childReport) {
		requests(t, s.Addr, clients, 2, 1)
		callsPer(t, "short connection", c, r, clients*conns, 16.5, func() {
			requests(t, s.Addr, clients, conns, 1)
			eventually(t, "connections end", func() bool { return c.report().Conns == 0 })
		})
	})
}

func TestSystemCallsPerRequest(t *testing.T) {
	const clients, each = 64, 60
	inBothWays(t, answers, func(t *testing.T, s fullnat.Service, c *child, r childReport) {
		var open []net.Conn
		for range clients {
			c := dial(t, s.Addr)
			open = append(open, c)
			if err := exchange(c, 2); err != nil {
				t.Fatal(err)
			}
		}
		callsPer(t, "request", c, r, clients*each, 4.1, func() {
			var wg sync.WaitGroup
			for _, c := range open {
				wg.Go(func() {
					if err := exchange(c, each); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	})
}

// inBothWays has an engine of one loop with io_uring, and one without.
func inBothWays(t *testing.T, handle func(*net.TCPConn), f func(*testing.T, fullnat.Service, *child, childReport)) {
	for _, plain := range []bool{false, true} {
		t.Run(map[bool]string{false: "io_uring", true: "plain"}[plain], func(t *testing.T) {
			s := costly(t, handle)
			c, r := spawn(t, childSpec{Services: []fullnat.Service{s}, Loops: 1, Plain: plain})
			f(t, s, c, r)
		})
	}
}
