package fullnat_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func dead(t *testing.T, a netip.Addr) *server {
	s := serveTCP(t, a, named("dead"))
	s.listener.Close()
	return s
}

// A server that refuses costs its clients nothing: another one has them, with
// all they had sent.
func TestRetry(t *testing.T) {
	for _, scheduler := range []string{"rr", "wlc", "sed", "nq", "fo", "ovf", "mh"} {
		t.Run(scheduler, func(t *testing.T) {
			n := newNetwork()
			alive := serveTCP(t, n.addr(11), echo)
			e := start(t, fullnat.Config{Loops: 2})
			s := tcpService(t, n.addr(1), scheduler, alive, dead(t, n.addr(12)), dead(t, n.addr(13)))
			s.Flags |= map[bool]ipvs.Flags{true: ipvs.Sched1}[scheduler == "mh"] // fallback
			s.Options.Locals = n.locals(2)
			apply(t, e, s)
			for range 12 {
				c := dial(t, s.Addr)
				say(t, c, "hello")
				hear(t, c, "hello")
				c.Close()
			}
			i := e.Services()[0]
			if i.Stats.Conns != 12 {
				t.Errorf("%d connections counted, want 12", i.Stats.Conns)
			}
			if scheduler == "rr" && i.Destinations[0].Failures == 0 {
				t.Error("no failure is counted at a server that refuses")
			}
		})
	}
}

func TestNoServerAnswers(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", dead(t, n.addr(11)), dead(t, n.addr(12)))
	apply(t, e, s)
	refused(t, s.Addr)
	if got := e.Errors().Unreachable; got != 1 {
		t.Errorf("%d unreachable, want 1", got)
	}
	eventually(t, "nothing is left", func() bool { return e.Conns() == 0 })
	if got := e.Services()[0].Stats.Conns; got != 1 {
		t.Errorf("%d connections counted, want 1", got)
	}
}

// A server that does not even refuse has its time, and then another one is
// asked.
func TestConnectTimeout(t *testing.T) {
	n := newNetwork()
	alive, mute := serveTCP(t, n.addr(11), echo), silent(t, n.addr(12))
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", alive, alive)
	s.Destinations[1].Addr = mute // the one that is asked first
	s.Options.ConnectTimeout = time.Minute
	apply(t, e, s)
	c := dial(t, s.Addr)
	say(t, c, "hello")
	eventually(t, "the client waits", func() bool { return e.Conns() == 1 && e.Services()[0].Destinations[0].Active == 1 })
	if got := e.Services()[0].Stats.Conns; got != 0 {
		t.Errorf("%d connections are counted while it is not known whose, to be taken back", got)
	}
	e.Skew(2 * time.Minute)
	hear(t, c, "hello")
	if i := e.Services()[0]; i.Stats.Conns != 1 || i.Destinations[1].Stats.Conns != 1 {
		t.Errorf("%+v, want one connection counted, of the one that answers", i.Destinations)
	}
	if got := e.Services()[0].Destinations[0]; got.Failures != 1 || got.Addr != mute {
		t.Errorf("server %s has %d failures, want 1 of %s", got.Addr, got.Failures, mute)
	}
}

// A server that the director's own routes or firewall do not let it reach is as
// any that cannot be reached: another one has its clients.
func TestServerWithoutRoute(t *testing.T) {
	n := newNetwork()
	alive := serveTCP(t, n.addr(11), echo)
	nowhere := netip.MustParseAddrPort("224.0.0.1:80") // ENETUNREACH from connect, whatever routes there are
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", alive, alive)
	s.Destinations[1].Addr = nowhere // the one that is asked first
	apply(t, e, s)
	c := dial(t, s.Addr)
	say(t, c, "hello")
	hear(t, c, "hello")
	d := e.Services()[0].Destinations
	if d[0].Addr != nowhere || d[0].Failures != 1 || d[0].Stats.Conns != 0 || d[1].Stats.Conns != 1 {
		t.Errorf("%+v, want one failure of %s and one connection of the other", d, nowhere)
	}
}

// silent is an address where connects are not answered: its queue is full.
func silent(t *testing.T, a netip.Addr) netip.AddrPort {
	t.Helper()
	_, to := fullQueue(t, a)
	return to
}

// fullQueue is a listening socket that accepts nobody, and its address.
func fullQueue(t *testing.T, a netip.Addr) (fd int, to netip.AddrPort) {
	t.Helper()
	fd, to = listenRaw(t, a, 0)
	for {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		if info.Unacked > info.Sacked { // of a listening socket: its queue, and how long that may get
			return fd, to
		}
		dial(t, to)
	}
}

// listenRaw is a listening socket, and its address, for who accepts himself.
func listenRaw(t *testing.T, a netip.Addr, backlog int) (fd int, to netip.AddrPort) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	to = freePort(t, "tcp", a)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: a.As4(), Port: int(to.Port())}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	return fd, to
}

func TestNoServer(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr")
	apply(t, e, s)
	refused(t, s.Addr)
	if got := e.Errors().Refused; got != 1 {
		t.Errorf("%d refused, want 1", got)
	}
}

// refused connects and expects a RST: at once, or when the connection is there.
func refused(t *testing.T, to netip.AddrPort) {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("error %v, want a reset", err)
	}
}

// At the upper threshold a server gets no more until it is below the lower one,
// where closed connections still count.
func TestThresholds(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", rs)
	s.Destinations[0].Upper, s.Destinations[0].Lower = 4, 2
	apply(t, e, s)
	var open []*net.TCPConn
	for range 4 {
		c := dial(t, s.Addr)
		say(t, c, "hello")
		hear(t, c, "hello")
		open = append(open, c)
	}
	refused(t, s.Addr)
	for _, c := range open[1:] {
		c.Close()
	}
	eventually(t, "three are closed", func() bool { return e.Conns() == 1 })
	refused(t, s.Addr) // the kernel would still count them
	e.Skew(3 * time.Minute)
	eventually(t, "they are forgotten", func() bool { return e.Services()[0].Destinations[0].Inactive == 0 })
	c := dial(t, s.Addr)
	say(t, c, "hello")
	hear(t, c, "hello")
}

// Weight 0 and removal keep what is open; a removal may cut it.
func TestDrainAndRemoval(t *testing.T) {
	n := newNetwork()
	a, b := serveTCP(t, n.addr(11), echo), serveTCP(t, n.addr(12), echo)
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", a)
	apply(t, e, s)
	old := dial(t, s.Addr)
	say(t, old, "1")
	hear(t, old, "1")

	s.Destinations[0].Weight = 0
	s.Destinations = append(s.Destinations, ipvs.Destination{Addr: b.addr, Method: ipvs.FullNAT, Weight: 1})
	apply(t, e, s)
	for range 3 {
		c := dial(t, s.Addr)
		say(t, c, "2")
		hear(t, c, "2")
		c.Close()
	}
	if got := b.conns.Load(); got != 3 {
		t.Errorf("%d new connections at the other server, want 3", got)
	}
	s.Destinations = s.Destinations[1:]
	apply(t, e, s)
	say(t, old, "3")
	hear(t, old, "3")

	s.Destinations = append(s.Destinations, ipvs.Destination{Addr: a.addr, Method: ipvs.FullNAT, Weight: 1})
	apply(t, e, s) // back, and its connection with it
	if d := e.Services()[0].Destinations[0]; d.Active != 1 || d.Stats.Conns != 1 {
		t.Errorf("server that came back: %+v, want its 1 connection", d)
	}
	s.Destinations = s.Destinations[:1]
	s.Options.CutRemoved = true
	apply(t, e, s)
	hearEnd(t, old, syscall.ECONNRESET)
}

// What becomes of the connections of a service that is removed is told by its
// options; those of others, to the same server, go on.
func TestServiceRemoval(t *testing.T) {
	for name, cut := range map[string]bool{"finish": false, "cut": true} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork()
			rs := serveTCP(t, n.addr(11), echo)
			e := start(t, fullnat.Config{Loops: 1})
			s, other := tcpService(t, n.addr(1), "rr", rs), tcpService(t, n.addr(2), "rr", rs)
			s.Options.CutRemoved = cut
			apply(t, e, s, other)
			old, others := dial(t, s.Addr), dial(t, other.Addr)
			for _, c := range []net.Conn{old, others} {
				say(t, c, "1")
				hear(t, c, "1")
			}
			apply(t, e, other)
			if cut {
				hearEnd(t, old, syscall.ECONNRESET)
			} else {
				say(t, old, "2")
				hear(t, old, "2")
			}
			say(t, others, "2")
			hear(t, others, "2")
		})
	}
}

// A server that is removed is remembered for as long as it has connections, and
// what it did counts for its service for good.
func TestRemovedServerIsForgotten(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	us, _ := serveUDP(t, n.addr(11), tagged(""))
	e := start(t, fullnat.Config{Loops: 2})
	s, u := tcpService(t, n.addr(1), "rr", rs, dead(t, n.addr(12))), udpService(t, n.addr(1), "rr", us)
	s.Options.Locals = n.locals(2)
	apply(t, e, s, u)
	c := dial(t, s.Addr)
	say(t, c, "1")
	hear(t, c, "1")
	for i := range 2 { // a move takes it along
		e.Move(i, 1-i, 1)
	}
	query(t, udpClient(t, u.Addr), "1")
	s.Destinations, u.Destinations = nil, nil
	apply(t, e, s, u)
	if got := e.ServersKnown(); got != 1 { // sessions leave at once
		t.Errorf("%d servers are known, want the one that has a connection", got)
	}
	c.Close()
	eventually(t, "the connection ends", func() bool { return e.ServersKnown() == 0 })
	if i, _ := e.Service(s.ServiceKey); i.Stats.Conns != 1 || i.Stats.InBytes != 1 || i.Stats.OutBytes != 1 {
		t.Errorf("%+v, want 1 connection, and 1 byte each way", i.Stats)
	}
	if i, _ := e.Service(s.ServiceKey); i.Locals[0].Conns+i.Locals[1].Conns != 0 {
		t.Errorf("%+v, want no connections", i.Locals)
	}
}

// Services are changed at run time: others are not disturbed, and an error
// concerns its own service only.
func TestApply(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	e := start(t, fullnat.Config{Loops: 2})
	s, other := tcpService(t, n.addr(1), "rr", rs), tcpService(t, n.addr(2), "wlc", rs)
	apply(t, e, s)
	old := dial(t, s.Addr)
	say(t, old, "1")
	hear(t, old, "1")
	bad := []fullnat.Service{s, other, other, other, other, other, other, other, other}
	bad[2].ServiceKey, bad[2].PE = ipvs.MarkService(7, ipvs.IPv4), "sip"
	bad[3].ServiceKey, bad[3].Scheduler = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(n.addr(3), 80)), "wrrr"
	bad[4].ServiceKey = ipvs.AddrService(ipvs.TCP, rs.addr) // taken
	bad[5].ServiceKey = ipvs.AddrService(ipvs.SCTP, s.Addr)
	bad[6].Options.Locals = []netip.Addr{{}}
	bad[7].ServiceKey = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(n.addr(3), 0))
	bad[8].ServiceKey = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(netip.AddrFrom16(n.addr(3).As16()), 80))
	err := e.Apply(bad)
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		"fullnat: apply service fwmark 7: not possible in user space: persistence engine sip",
		"fullnat: add service tcp " + bad[3].Addr.String() + ": scheduler not available (wrrr)",
		"fullnat: add service tcp " + rs.addr.String() + ": address already in use",
		"fullnat: apply service sctp " + s.Addr.String() + ": not possible in user space: protocol sctp",
		"fullnat: apply service tcp " + other.Addr.String() + ": local address invalid IP: invalid argument",
		"fullnat: apply service tcp " + n.addr(3).String() + ":0: invalid argument: port 0, every port, needs persistence",
		"fullnat: apply service tcp [::ffff:" + n.addr(3).String() + "]:80: invalid argument: ::ffff:" + n.addr(3).String() + " is an IPv4 address in the form of IPv6, write " + n.addr(3).String(),
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) || !slices.EqualFunc(lines, want, strings.HasPrefix) {
		t.Errorf("errors:\n%s\nwant:\n%s", err, strings.Join(want, "\n"))
	}
	c := dial(t, other.Addr)
	say(t, c, "2")
	hear(t, c, "2")
	say(t, old, "2")
	hear(t, old, "2")
	apply(t, e, other) // the first one goes, its connection stays
	if _, err := net.Dial("tcp", s.Addr.String()); err == nil {
		t.Error("a service that was removed still accepts")
	}
	say(t, old, "3")
	hear(t, old, "3")
}

// Two engines, those of two daemons say, do not share a service's clients, whether
// or not it has connections; they are the second one's when the first has left.
func TestServedAlready(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	first, second := start(t, fullnat.Config{Loops: 2}), start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", rs)
	apply(t, first, s)
	old := dial(t, s.Addr)
	say(t, old, "1")
	hear(t, old, "1")
	if err := second.Apply([]fullnat.Service{s}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v, want that the address is in use", err)
	}
	apply(t, first)
	apply(t, second, s)
	c := dial(t, s.Addr)
	for _, c := range []*net.TCPConn{c, old} {
		say(t, c, "2")
		hear(t, c, "2")
	}
}

// Rates are there with the kernel's first look, after two seconds.
func TestRates(t *testing.T) {
	n := newNetwork()
	e := start(t, fullnat.Config{Loops: 1})
	s := tcpService(t, n.addr(1), "rr", serveTCP(t, n.addr(11), named(strings.Repeat("a", 1000))))
	apply(t, e, s)
	eventually(t, "rates of the service and the server", func() bool {
		ask(t, s.Addr)
		got := e.Services()[0]
		return got.Stats.OutBPS > 0 && got.Destinations[0].Stats.OutBPS > 0
	})
}

func TestPersistence(t *testing.T) {
	n := newNetwork()
	a, b := serveTCP(t, n.addr(11), named("a")), serveTCP(t, n.addr(12), named("b"))
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", a, b)
	s.Flags, s.Timeout = ipvs.Persistent, 5*time.Minute
	apply(t, e, s)
	var got string
	for range 5 {
		got += ask(t, s.Addr)
	}
	if got != "bbbbb" {
		t.Errorf("servers of one client: %s, want bbbbb", got)
	}
	templates := 0
	for _, c := range e.Connections() {
		if c.Client.Port() == 0 {
			templates++
		}
	}
	if templates != 1 {
		t.Errorf("%d templates listed, want 1", templates)
	}
	e.Skew(time.Hour)
	eventually(t, "its connections are forgotten", func() bool { return e.Ghosts() == 0 })
	e.Skew(2 * time.Minute)
	if got := ask(t, s.Addr); got != "a" {
		t.Errorf("after the template: %s, want a", got)
	}
}

// A template leads to a server of weight 0, unless expire_quiescent_template is
// set.
func TestQuiescentTemplate(t *testing.T) {
	for expire, want := range map[bool]string{false: "b", true: "a"} {
		n := newNetwork()
		a, b := serveTCP(t, n.addr(11), named("a")), serveTCP(t, n.addr(12), named("b"))
		e := start(t, fullnat.Config{Loops: 2, Scheduling: &sched.Settings{ExpireQuiescentTemplate: expire}})
		s := tcpService(t, n.addr(1), "rr", a, b)
		s.Flags, s.Timeout = ipvs.Persistent, 5*time.Minute
		apply(t, e, s)
		if got := ask(t, s.Addr); got != "b" {
			t.Fatalf("server %s, want b", got)
		}
		s.Destinations[1].Weight = 0
		apply(t, e, s)
		if got := ask(t, s.Addr); got != want {
			t.Errorf("expire_quiescent_template %v: server %s, want %s", expire, got, want)
		}
		e.SetScheduling(fullnat.Scheduling{ExpireQuiescentTemplate: true})
		if got := ask(t, s.Addr); got != "a" {
			t.Errorf("expire_quiescent_template from %v to true: server %s, want a", expire, got)
		}
	}
}

// IPv6 in front, IPv4 behind, and the other way round.
func TestMixedFamilies(t *testing.T) {
	n := newNetwork()
	v6 := netip.MustParseAddr("::1")
	for _, test := range []struct{ vip, rip netip.Addr }{{v6, n.addr(11)}, {n.addr(1), v6}, {v6, v6}} {
		t.Run(test.vip.String()+" to "+test.rip.String(), func(t *testing.T) {
			rs := serveTCP(t, test.rip, func(c *net.TCPConn) { io.WriteString(c, c.RemoteAddr().String()) })
			e := start(t, fullnat.Config{Loops: 2})
			s := tcpService(t, test.vip, "sh", rs)
			lip := n.addr(101)
			s.Options.Locals = []netip.Addr{lip, v6}
			apply(t, e, s)
			from := netip.MustParseAddrPort(ask(t, s.Addr)).Addr()
			if want := map[bool]netip.Addr{true: lip, false: v6}[test.rip.Is4()]; from != want {
				t.Errorf("the server saw %s, want %s", from, want)
			}
		})
	}
}
