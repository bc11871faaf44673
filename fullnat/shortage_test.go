package fullnat_test

import (
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// Without descriptors nothing is accepted and nothing spins; what waited is
// served when others end.
func TestOutOfDescriptors(t *testing.T) {
	for _, test := range []struct {
		name    string
		reserve int // 1: the engine believes that it may use nearly all
	}{{"at the limit", 40}, {"EMFILE", 1}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork()
			rs := serveTCP(t, n.addr(11), echo)
			s := tcpService(t, n.addr(1), "rr", rs)
			s.Options.ConnectTimeout = time.Minute
			c, r := spawn(t, childSpec{Services: []fullnat.Service{s}, Loops: 1, Files: 100, Reserve: test.reserve})
			var open, waiting []net.Conn
			for range r.Limit { // as many as there can be
				c, err := net.Dial("tcp", s.Addr.String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				if _, err := io.WriteString(c, "x"); err != nil {
					t.Fatal(err)
				}
				if test.reserve > 1 {
					hear(t, c, "x")
				}
				open = append(open, c)
			}
			for range 20 { // and some more
				c := dial(t, s.Addr)
				say(t, c, "y")
				waiting = append(waiting, c)
			}
			if test.reserve == 1 {
				eventually(t, "descriptors run out", func() bool { return c.report().Errors.NoFiles > 0 })
			}
			before, since := c.report().Usage, time.Now()
			time.Sleep(time.Second) // a measured time, not a wait
			after := c.report().Usage
			busy, waited := time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()), time.Since(since)
			t.Logf("%v of CPU in %v of waiting", busy, waited)
			if busy > waited*3/10 {
				t.Errorf("%v of CPU in %v of waiting", busy, waited)
			}
			for _, c := range open {
				c.Close()
			}
			for _, c := range waiting {
				hear(t, c, "y")
			}
		})
	}
}

// Services that are too many for the limit of descriptors are refused while there
// are some left for the rest of the process; and listening sockets are no room for
// connections.
func TestTooManyServices(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	services := make([]fullnat.Service, 120)
	for i := range services {
		services[i] = tcpService(t, n.addr(1), "rr", rs)
		services[i].ServiceKey = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(n.addr(1), uint16(8000+i)))
	}
	c, few := spawn(t, childSpec{Services: services[:1], Loops: 1, Files: 100, Reserve: 40})
	c.end()
	c, many := spawn(t, childSpec{Services: services[:31], Loops: 1, Files: 100, Reserve: 40})
	if few.Limit != 29 || many.Limit != few.Limit-15 {
		t.Errorf("room for %d connections beside one service and for %d beside 31, want 29 and 14", few.Limit, many.Limit)
	}
	c.end()
	c, r := spawn(t, childSpec{Services: services, Loops: 1, Files: 100})
	if r.Files == 0 || len(r.Infos) < 30 || len(r.Infos) > 75 || r.Files > 80 {
		t.Errorf("%d services, %d open files of 100; want that a quarter is left", len(r.Infos), r.Files)
	}
	last := r.Infos[len(r.Infos)-1]
	open := dial(t, last.Addr)
	say(t, open, "x")
	hear(t, open, "x")
	c.report()
}

// Connections whose service has no local address that is this machine's wait for
// one, and so do those behind them, in the kernel: until there is one, their time
// to connect is over, or they are cut. Those of other services wait for none of them.
func TestNoUsableLocal(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	rs := serveTCP(t, n.addr(11), echo)
	s, other := tcpService(t, n.addr(1), "rr", rs), tcpService(t, n.addr(2), "rr", rs)
	s.Options = fullnat.Options{Locals: []netip.Addr{netip.MustParseAddr("192.0.2.77")}, ConnectTimeout: time.Minute, CutRemoved: true}
	apply(t, e, s, other)
	serves := func(c net.Conn) { t.Helper(); say(t, c, "x"); hear(t, c, "x") }
	wait := func() net.Conn {
		t.Helper()
		c := dial(t, s.Addr)
		eventually(t, "it waits", func() bool { return e.Conns() == 1 })
		return c
	}

	c := wait()
	e.Skew(2 * time.Minute)
	hearEnd(t, c, syscall.ECONNRESET)
	if got := e.Errors().Exhausted; got != 1 {
		t.Errorf("%d exhausted, want 1", got)
	}

	c = wait()
	apply(t, e, other) // without it
	hearEnd(t, c, syscall.ECONNRESET)
	apply(t, e, s, other)

	c = wait()
	behind := dial(t, s.Addr)
	say(t, behind, "x")
	o := dial(t, other.Addr)
	tries := func() uint64 { i, _ := e.Service(s.ServiceKey); return i.Locals[0].Unusable }
	before, since := tries(), time.Now()
	for range 100 { // rounds of the loop
		serves(o)
	}
	if n, took := tries()-before, time.Since(since); n > 1+uint64(took/fullnat.RetryEvery) {
		t.Errorf("%d tries in %v", n, took)
	}
	if got := e.Conns(); got != 2 {
		t.Errorf("%d connections, want the other service's and the one that waits", got)
	}
	later := tcpService(t, n.addr(3), "rr", rs)
	later.Options = s.Options
	apply(t, e, s, other, later)
	l := dial(t, later.Addr)
	eventually(t, "it waits", func() bool { return e.Conns() == 3 })
	conns := rs.conns.Load()
	later.Options.Locals = n.locals(1)
	apply(t, e, s, other, later)
	serves(l) // while who came before it still waits
	s.Options.Locals = n.locals(1)
	apply(t, e, s, other, later)
	serves(c)
	hear(t, behind, "x")
	if i, _ := e.Service(s.ServiceKey); i.Destinations[0].Failures != 0 || i.Stats.Conns != 2 || rs.conns.Load() != conns+3 {
		t.Errorf("%d failures and %d connections, want none and 2; the server got %d, want 3", i.Destinations[0].Failures, i.Stats.Conns, rs.conns.Load()-conns)
	}
}

// A listening socket that somebody else has shut down listens again, and takes no
// CPU meanwhile.
func TestListenerShutDown(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), named("a")))
	apply(t, e, s)
	files, err := e.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	shut := func() {
		t.Helper()
		for _, f := range files {
			raw, err := f.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if e := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_RDWR) }); e != nil || err != nil {
				t.Fatal(e, err)
			}
		}
	}
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	listens := func() bool {
		c, err := net.Dial("tcp", s.Addr.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	shut()
	eventually(t, "it listens again", listens)
	if got := ask(t, s.Addr); got != "a" {
		t.Errorf("the server said %q", got)
	}
	e.Pause()
	shut()
	before := e.Rounds()
	e.InTurns(func() {}, func() {}, func() {})
	time.Sleep(time.Second / 2)            // a measured time, not a wait
	if n := e.Rounds() - before; n > 200 { // 10 ms is how long a loop waits at the most
		t.Errorf("%d rounds of a loop that has nothing to do", n)
	}
	e.Resume()
	eventually(t, "it listens again after a pause", listens)
}

// A service's own limit makes its clients wait, not others.
func TestMaxConns(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	e := start(t, fullnat.Config{Loops: 1})
	s, other := tcpService(t, n.addr(1), "rr", rs), tcpService(t, n.addr(2), "rr", rs)
	s.Options.MaxConns = 2
	apply(t, e, s, other)
	a, b := dial(t, s.Addr), dial(t, s.Addr)
	for _, c := range []net.Conn{a, b} {
		say(t, c, "1")
		hear(t, c, "1")
	}
	third, free := dial(t, s.Addr), dial(t, other.Addr)
	say(t, third, "2")
	say(t, free, "2")
	hear(t, free, "2")
	if got := e.Services()[0].Stats.Conns + e.Services()[1].Stats.Conns; got != 3 {
		t.Errorf("%d connections were made, want 3", got)
	}
	a.Close()
	hear(t, third, "2")
}
