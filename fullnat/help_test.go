package fullnat_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// patience is how long something that should happen at once may take on a busy
// machine.
const patience = 30 * time.Second

// nets hands each test loopback addresses of its own: 127.N.M.0/24.
var nets atomic.Uint32

type network struct{ n uint32 }

func newNetwork() network { return network{nets.Add(1)} }

func (n network) addr(host byte) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(100 + n.n/200), byte(1 + n.n%200), host})
}

// locals are some LIPs.
func (n network) locals(count byte) (as []netip.Addr) {
	for i := range count {
		as = append(as, n.addr(101+i))
	}
	return as
}

// server listens on an address of its own, at any port, and serves each
// connection in a goroutine until the test ends.
type server struct {
	addr     netip.AddrPort
	listener net.Listener
	conns    atomic.Int64
}

func serveTCP(t testing.TB, a netip.Addr, handle func(*net.TCPConn)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: ln.Addr().(*net.TCPAddr).AddrPort(), listener: ln}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			go func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			}()
		}
	}()
	return s
}

// named answers with a name at once and waits for the end.
func named(name string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		fmt.Fprint(c, name)
		c.CloseWrite()
		io.Copy(io.Discard, c)
	}
}

func echo(c *net.TCPConn) { io.Copy(c, c); c.CloseWrite() }

func start(t testing.TB, c fullnat.Config) *fullnat.Engine {
	t.Helper()
	c.Unpinned = true
	c.PlainCalls = c.PlainCalls || *plain
	e, err := fullnat.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// freePort is a port of an address that was free a moment ago.
func freePort(t testing.TB, network string, a netip.Addr) netip.AddrPort {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", netip.AddrPortFrom(a, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	ln, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// tcpService is a service on a free port of the VIP, with servers of weight 1.
func tcpService(t testing.TB, vip netip.Addr, scheduler string, servers ...*server) fullnat.Service {
	t.Helper()
	s := fullnat.Service{Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, freePort(t, "tcp", vip)), Scheduler: scheduler}}
	for _, rs := range servers {
		s.Destinations = append(s.Destinations, ipvs.Destination{Addr: rs.addr, Method: ipvs.FullNAT, Weight: 1})
	}
	return s
}

func apply(t testing.TB, e *fullnat.Engine, want ...fullnat.Service) {
	t.Helper()
	if err := e.Apply(want); err != nil {
		t.Fatal(err)
	}
}

func dial(t testing.TB, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// ask reads all that a server says.
func ask(t testing.TB, to netip.AddrPort) string {
	t.Helper()
	c := dial(t, to)
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen in %v: %s", patience, what)
		}
	}
}

func testContext() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	context.AfterFunc(ctx, cancel)
	return ctx
}
