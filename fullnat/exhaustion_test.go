package fullnat_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/testserver"
)

// portRange has the kernel give n ports to connections of the namespace, for the
// test: such as no socket has. A port that one is bound to, a server of an earlier
// test or a connection of its that has ended, is given to nobody who connects
// (__inet_hash_connect).
func portRange(t *testing.T, n int) {
	t.Helper()
	low := 40000
	for used := usedPorts(t); slices.ContainsFunc(used, func(p int) bool { return p >= low && p < low+n }); low += n {
	}
	high := low + n - 1
	const file = "/proc/sys/net/ipv4/ip_local_port_range"
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d %d", low, high), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, was, 0o644); err != nil {
			t.Error(err)
		}
	})
}

// usedPorts are the local ports of all TCP sockets of the namespace.
func usedPorts(t *testing.T) (ports []int) {
	t.Helper()
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); strings.HasSuffix(f[0], ":") { // not the head
				_, port, _ := strings.Cut(f[1], ":")
				n, err := strconv.ParseUint(port, 16, 16)
				if err != nil {
					t.Fatal(err)
				}
				ports = append(ports, int(n))
			}
		}
	}
	return ports
}

// dialFrom connects with a source port outside of the range.
func dialFrom(t *testing.T, port int, to netip.AddrPort) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// Two LIPs with ten ports each make twenty connections to a server. The next
// ones wait, without a busy loop, and get a port when one is given back;
// another server has all twenty for itself.
func TestKernelPortExhaustion(t *testing.T) {
	lab.Need(t)
	n := newNetwork()
	rs, second := serveTCP(t, n.addr(11), echo), serveTCP(t, n.addr(12), echo)
	log := &testserver.Buffer{}
	e := start(t, fullnat.Config{Loops: 1, Log: slog.New(slog.NewTextHandler(log, nil))})
	s, other := tcpService(t, n.addr(1), "rr", rs), tcpService(t, n.addr(1), "rr", second)
	s.Options = fullnat.Options{Locals: n.locals(2), ConnectTimeout: time.Minute}
	other.Options = s.Options
	apply(t, e, s, other)
	portRange(t, 10)
	port := 20000
	open := func(to netip.AddrPort) net.Conn {
		port++
		c := dialFrom(t, port, to)
		say(t, c, "x")
		return c
	}
	var conns []net.Conn
	for range 20 {
		c := open(s.Addr)
		hear(t, c, "x")
		conns = append(conns, c)
	}
	waits := open(s.Addr)
	eventually(t, "the conflict is counted", func() bool {
		i, _ := e.Service(s.ServiceKey)
		return i.Locals[0].Conflicts > 0 && i.Locals[1].Conflicts > 0
	})
	for range 20 { // every port serves every server once
		hear(t, open(other.Addr), "x")
	}
	i, _ := e.Service(s.ServiceKey)
	if i.Locals[0].Conns != 10 || i.Locals[1].Conns != 10 {
		t.Errorf("connections of the LIPs: %d and %d, want 10 and 10", i.Locals[0].Conns, i.Locals[1].Conns)
	}
	eventually(t, "a warning", func() bool { return strings.Contains(log.String(), "local address nearly used up") })
	i, _ = e.Service(s.ServiceKey)
	if i.Locals[0].Capacity != 10 { // the range is read again every two seconds, before anybody is warned
		t.Errorf("capacity %d, want 10", i.Locals[0].Capacity)
	}
	before, since := i.Locals[0].Conflicts, time.Now()
	time.Sleep(time.Second) // a measured time, not a wait
	i, _ = e.Service(s.ServiceKey)
	took := time.Since(since)
	if tries := i.Locals[0].Conflicts - before; tries > 2+2*uint64(took/fullnat.RetryEvery) {
		t.Errorf("%d tries in %v of waiting", tries, took)
	}
	conns[7].(*net.TCPConn).SetLinger(0) // no TIME_WAIT keeps its port
	conns[7].Close()
	hear(t, waits, "x")

	last := open(s.Addr) // one more waits until its time to connect is over
	eventually(t, "it waits", func() bool { return e.Conns() == 41 })
	e.Skew(2 * time.Minute)
	refusedRead(t, last)
	if got := e.Errors().Exhausted; got != 1 {
		t.Errorf("%d exhausted, want 1", got)
	}
	if i, _ = e.Service(s.ServiceKey); i.Destinations[0].Failures != 0 {
		t.Error("a lack of ports counts as a failure of the server")
	}
}

// A service that comes while epoll has no room for its sockets is served as soon
// as there is some.
func TestKernelOutOfWatches(t *testing.T) {
	lab.Need(t)
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), named("a")))
	const file = "/proc/sys/fs/epoll/max_user_watches"
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, most := range [][]byte{[]byte("0"), was} {
		if err := os.WriteFile(file, most, 0o644); err != nil {
			t.Fatal(err)
		}
		apply(t, e, s)
		e.InLoops(func() {})
	}
	if got := ask(t, s.Addr); got != "a" {
		t.Errorf("the server said %q", got)
	}
}

// A LIP that is not this machine's is passed over and counted.
func TestKernelUnusableLocal(t *testing.T) {
	lab.Need(t)
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), func(c *net.TCPConn) { fmt.Fprint(c, c.RemoteAddr()) })
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", rs)
	s.Options.Locals = []netip.Addr{netip.MustParseAddr("192.0.2.77"), n.addr(101)}
	apply(t, e, s)
	asked := uint64(0)
	eventually(t, "the first address is tried, too", func() bool { // which one is is random
		if got := ask(t, s.Addr); !strings.HasPrefix(got, n.addr(101).String()+":") {
			t.Errorf("the server saw %s, want %s", got, n.addr(101))
		}
		asked++
		return e.Services()[0].Locals[0].Unusable > 0
	})
	if i := e.Services()[0].Locals; i[0].Total != 0 || i[1].Total != asked {
		t.Errorf("%+v, want %d connections of the second", i, asked)
	}
}
