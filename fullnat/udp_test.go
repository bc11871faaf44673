package fullnat_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// serveUDP answers each datagram with what handle makes of it, at the address
// to, or any port of it.
func serveUDP(t testing.TB, a netip.Addr, handle func(from netip.AddrPort, b []byte) []byte) (netip.AddrPort, *net.UDPConn) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.WriteToUDPAddrPort(handle(from, b[:n]), from)
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), c
}

func tagged(tag string) func(netip.AddrPort, []byte) []byte {
	return func(_ netip.AddrPort, b []byte) []byte { return append([]byte(tag), b...) }
}

func udpService(t testing.TB, vip netip.Addr, scheduler string, servers ...netip.AddrPort) fullnat.Service {
	t.Helper()
	s := fullnat.Service{Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.UDP, freePort(t, "udp", vip)), Scheduler: scheduler}}
	for _, a := range servers {
		s.Destinations = append(s.Destinations, ipvs.Destination{Addr: a, Method: ipvs.FullNAT, Weight: 1})
	}
	return s
}

// udpClient is a connected socket: it hears the virtual address only.
func udpClient(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// query asks once. That nothing is lost, loopback does not promise: after a long
// time it asks again, which tests that count notice.
func query(t testing.TB, c *net.UDPConn, text string) string {
	t.Helper()
	return queryEvery(t, c, text, patience/3)
}

// insist is query where the first datagrams find a dead server and are lost.
func insist(t testing.TB, c *net.UDPConn, text string) string {
	t.Helper()
	return queryEvery(t, c, text, 500*time.Millisecond)
}

func queryEvery(t testing.TB, c *net.UDPConn, text string, every time.Duration) string {
	t.Helper()
	b := make([]byte, 1<<16)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := c.Write([]byte(text)); err != nil {
			continue
		}
		c.SetReadDeadline(time.Now().Add(every))
		if n, err := c.Read(b); err == nil {
			return string(b[:n])
		}
	}
	t.Fatalf("no answer to %d bytes", len(text))
	return ""
}

func TestUDPSessions(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("a"))
	b, _ := serveUDP(t, n.addr(12), tagged("b"))
	e := start(t, fullnat.Config{Loops: 2})
	s := udpService(t, n.addr(1), "rr", a, b)
	s.Options.Locals = n.locals(2)
	apply(t, e, s)
	var got []string
	for range 4 {
		c := udpClient(t, s.Addr)
		got = append(got, query(t, c, "1")+query(t, c, "2"))
	}
	if want := []string{"b1b2", "a1a2", "b1b2", "a1a2"}; !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	i := e.Services()[0]
	if st := i.Stats; st.Conns != 4 || st.InPkts != 8 || st.OutPkts != 8 || st.InBytes != 8 || st.OutBytes != 16 {
		t.Errorf("statistics %+v, want 4 sessions, 8 packets each way, 8 and 16 bytes", st)
	}
	if i.Destinations[0].Inactive != 2 || i.Locals[0].Conns+i.Locals[1].Conns != 4 {
		t.Errorf("%+v, want 2 sessions at each server and 4 at the LIPs", i)
	}
	for _, c := range e.Connections() {
		if c.State != "UDP" || !slices.Contains(s.Options.Locals, c.Local.Addr()) || c.Virtual != s.Addr {
			t.Errorf("listed: %+v", c)
		}
	}
	e.Skew(4 * time.Minute)
	if got := e.Conns(); got != 4 {
		t.Errorf("%d sessions after four minutes, want 4", got)
	}
	e.Skew(2 * time.Minute)
	eventually(t, "sessions idle out", func() bool { return e.Conns() == 0 })
	if d := e.Services()[0].Destinations[0]; d.Inactive != 0 {
		t.Errorf("%d sessions still count", d.Inactive)
	}
}

func TestUDPOnePacket(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("a"))
	b, _ := serveUDP(t, n.addr(12), tagged("b"))
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", a, b)
	s.Flags = ipvs.OnePacket
	apply(t, e, s)
	c := udpClient(t, s.Addr)
	var got string
	for range 6 {
		got += query(t, c, "")
	}
	if got != "bababa" {
		t.Errorf("servers of one client's datagrams: %s, want bababa", got)
	}
	i := e.Services()[0]
	if i.Stats.Conns != 6 || i.Destinations[0].Inactive != 0 {
		t.Errorf("%d connections and %d that count, want 6 and none", i.Stats.Conns, i.Destinations[0].Inactive)
	}
	e.Skew(10 * time.Second)
	eventually(t, "what waited for answers is gone", func() bool { return e.Conns() == 0 })
}

// Where each datagram is scheduled by itself, each one tells of its client.
func TestUDPOnePacketHeaders(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("got "))
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", a)
	s.Flags, s.Options.ProxyProtocol = ipvs.OnePacket, fullnat.ProxyV2
	apply(t, e, s)
	c := udpClient(t, s.Addr)
	head := string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.UDP, c.LocalAddr().(*net.UDPAddr).AddrPort(), s.Addr))
	for range 3 {
		if got, want := query(t, c, "data"), "got "+head+"data"; got != want {
			t.Errorf("the server got %q, want %q", got, want)
		}
	}
}

// The longest datagrams arrive whole, with a header before the first.
func TestUDPTruncation(t *testing.T) {
	n := newNetwork()
	for _, proxy := range []fullnat.ProxyProtocol{fullnat.NoProxy, fullnat.ProxyV2} {
		heads := make(chan []byte, 100)
		a, _ := serveUDP(t, n.addr(11), func(_ netip.AddrPort, b []byte) []byte {
			if bytes.HasPrefix(b, []byte("\r\n\r\n\x00\r\nQUIT\n")) {
				heads <- bytes.Clone(b[:28])
				b = b[28:]
			}
			return b
		})
		e := start(t, fullnat.Config{Loops: 1})
		s := udpService(t, n.addr(1), "rr", a)
		s.Options.ProxyProtocol = proxy
		apply(t, e, s)
		c := udpClient(t, s.Addr)
		for _, size := range []int{0, 1, 1472, 9000, 65507 - 28, 65507} {
			text := strings.Repeat("x", size)
			if got := query(t, c, text); got != text {
				t.Errorf("%d bytes came back as %d", size, len(got))
			}
		}
		if proxy == fullnat.NoProxy {
			continue
		}
		want := fullnat.AppendProxyHeader(nil, proxy, ipvs.UDP, c.LocalAddr().(*net.UDPAddr).AddrPort(), s.Addr)
		if got := <-heads; !bytes.Equal(got, want) || len(heads) != 0 {
			t.Errorf("header % x, want % x, and %d more, want none", got, want, len(heads))
		}
	}
}

// A server that refuses, is removed, or was removed and is back.
func TestUDPServerGoes(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("a"))
	b, conn := serveUDP(t, n.addr(12), tagged("b"))
	e := start(t, fullnat.Config{Loops: 2})
	s := udpService(t, n.addr(1), "rr", a, b)
	apply(t, e, s)
	c := udpClient(t, s.Addr)
	if got := query(t, c, ""); got != "b" {
		t.Fatalf("answer %s, want b", got)
	}
	conn.Close()
	if got := insist(t, c, ""); got != "a" {
		t.Errorf("answer %s after the server has gone, want a", got)
	}
	if f := e.Services()[0].Destinations[0].Failures; f == 0 {
		t.Error("no failure is counted")
	}
	both := s.Destinations
	s.Destinations = both[1:]
	apply(t, e, s) // a is removed, b is dead: no answer, but the session is b's
	if live := e.Services()[0].Destinations[0]; live.Addr != b {
		t.Errorf("server %s, want %s", live.Addr, b)
	}
	s.Destinations = both[:1]
	apply(t, e, s)
	if got := insist(t, c, ""); got != "a" {
		t.Errorf("answer %s, want a", got)
	}
	apply(t, e)
	if got := e.Conns(); got != 0 {
		t.Errorf("%d sessions of a service that was removed", got)
	}
}

// The sessions of a server that is removed go to another one, though it still
// answers.
func TestUDPServerRemoved(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("a"))
	b, _ := serveUDP(t, n.addr(12), tagged("b"))
	e := start(t, fullnat.Config{Loops: 2})
	s := udpService(t, n.addr(1), "rr", a, b)
	apply(t, e, s)
	ofB, ofA := udpClient(t, s.Addr), udpClient(t, s.Addr)
	if got := query(t, ofB, "") + query(t, ofA, ""); got != "ba" {
		t.Fatalf("answers of %s, want ba", got)
	}
	s.Destinations = s.Destinations[:1]
	apply(t, e, s)
	if got := query(t, ofB, "") + query(t, ofA, ""); got != "aa" {
		t.Errorf("answers of %s, want aa", got)
	}
	if got := e.Services()[0].Destinations[0].Stats.Conns; got != 2 {
		t.Errorf("%d sessions were made with the one that stays, want 2", got)
	}
}

// Many clients at a time, with several datagrams on the way: answers go to the
// client that asked, also in batches.
func TestUDPManyClients(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged(""))
	b, _ := serveUDP(t, n.addr(12), tagged(""))
	e := start(t, fullnat.Config{Loops: 2})
	s := udpService(t, n.addr(1), "wlc", a, b)
	s.Options.Locals = n.locals(4)
	apply(t, e, s)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			c := udpClient(t, s.Addr)
			for k := range 5 {
				burst(t, c, fmt.Sprintf("client %d round %d", i, k))
			}
		})
	}
	wg.Wait()
	if got := e.Conns(); got != 100 {
		t.Errorf("%d sessions, want 100", got)
	}
}

// burst sends several datagrams, and again if all of them or their answers are
// lost: the test is not about loss.
func burst(t *testing.T, c *net.UDPConn, text string) {
	b := make([]byte, 2048)
	heard := 0
	for end := time.Now().Add(patience); heard == 0 && time.Now().Before(end); {
		for i := range 4 {
			fmt.Fprintf(c, "%s %d", text, i)
		}
		for c.SetReadDeadline(time.Now().Add(5 * time.Second)); heard < 4; heard++ {
			n, err := c.Read(b)
			if err != nil {
				break
			}
			got, _, _ := strings.Cut(string(b[:n]), " round")
			if want, _, _ := strings.Cut(text, " round"); got != want {
				t.Errorf("%q got %q", text, got)
			}
		}
	}
	if heard == 0 {
		t.Errorf("%q got no answer", text)
	}
}

func TestUDPPersistence(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("a"))
	b, _ := serveUDP(t, n.addr(12), tagged("b"))
	e := start(t, fullnat.Config{Loops: 2})
	s := udpService(t, n.addr(1), "rr", a, b)
	s.Flags, s.Timeout = ipvs.Persistent, time.Minute
	apply(t, e, s)
	for range 4 {
		if got := query(t, udpClient(t, s.Addr), ""); got != "b" {
			t.Errorf("answer %s, want b", got)
		}
	}
}

func TestUDPIPv6(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("a"))
	e := start(t, fullnat.Config{Loops: 2})
	s := udpService(t, netip.IPv6Loopback(), "rr", a)
	s.Options.Locals = n.locals(2)
	apply(t, e, s)
	if got := query(t, udpClient(t, s.Addr), "1"); got != "a1" {
		t.Errorf("answer %s, want a1", got)
	}
}

// What many clients have sent goes on by one call, and each datagram has a fate
// of its own: what IPv4 has no room for is dropped, and no other one.
func TestUDPTogether(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("got "))
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, netip.IPv6Loopback(), "rr", a)
	apply(t, e, s)
	const tooLong = 3
	var clients [8]*net.UDPConn
	e.Pause()
	for i := range clients {
		clients[i] = udpClient(t, s.Addr)
		text := fmt.Sprint(i)
		if i == tooLong {
			text = strings.Repeat("x", 65527)
		}
		send(t, clients[i], []string{text})
	}
	e.Resume()
	for i, c := range clients {
		if i != tooLong {
			c.SetReadDeadline(time.Now().Add(patience))
			if got, _, _ := hearAll(t, c, 1); !slices.Equal(got, []string{fmt.Sprint("got ", i)}) {
				t.Errorf("client %d heard %q", i, got)
			}
		}
	}
	eventually(t, "the longest one is dropped", func() bool { return e.Errors().Dropped == 1 })
	if got := e.Services()[0].Stats.InPkts; got != uint64(len(clients)-1) {
		t.Errorf("%d datagrams are counted, want %d", got, len(clients)-1)
	}
	if got := query(t, clients[tooLong], "again"); got != "got again" {
		t.Errorf("answer %s, want got again", got)
	}
}

// At the limit of sessions the longest idle makes room.
func TestUDPLimit(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("a"))
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", a)
	s.Options.MaxConns = 10
	apply(t, e, s)
	for range 30 {
		if got := query(t, udpClient(t, s.Addr), "1"); got != "a1" {
			t.Errorf("answer %s, want a1", got)
		}
	}
	if got := e.Conns(); got != 10 {
		t.Errorf("%d sessions, want 10", got)
	}
}

// So it does in another loop, if only that has sessions, be it the service's limit
// or that of descriptors.
func TestUDPLimitOfLoops(t *testing.T) {
	for name, limit := range map[string]struct{ service, reserve int }{
		"service": {service: 1}, "descriptors": {reserve: 1 << 30}, // which leaves one session
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork()
			a, _ := serveUDP(t, n.addr(11), tagged("a"))
			e := start(t, fullnat.Config{Loops: 2, Reserve: limit.reserve})
			s := udpService(t, n.addr(1), "rr", a)
			s.Options.MaxConns = limit.service
			apply(t, e, s)
			for range 20 { // which the kernel spreads over the loops
				if got := queryEvery(t, udpClient(t, s.Addr), "1", 20*time.Millisecond); got != "a1" {
					t.Errorf("answer %s, want a1", got)
				}
			}
		})
	}
}

// A service at its own limit takes the sessions of no other one.
func TestUDPLimitAmongOthers(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), func(from netip.AddrPort, _ []byte) []byte { return []byte(from.String()) })
	e := start(t, fullnat.Config{Loops: 1})
	s, other := udpService(t, n.addr(1), "rr", a), udpService(t, n.addr(2), "rr", a)
	s.Options.MaxConns = 1
	apply(t, e, s, other)
	var clients []*net.UDPConn
	var ports []string
	for range 20 {
		c := udpClient(t, other.Addr)
		clients, ports = append(clients, c), append(ports, query(t, c, "1"))
	}
	for range 20 {
		query(t, udpClient(t, s.Addr), "1")
	}
	for i, c := range clients {
		if got := query(t, c, "1"); got != ports[i] {
			t.Errorf("session %d comes from %s, and came from %s", i, got, ports[i])
		}
	}
	if got := e.Errors().Dropped; got != 0 {
		t.Errorf("%d datagrams dropped", got)
	}
}

// A client that goes on sending keeps its session, whether it hears anything or not.
func TestUDPSessionOfMuteServer(t *testing.T) {
	for _, proxy := range []fullnat.ProxyProtocol{fullnat.NoProxy, fullnat.ProxyV2, fullnat.ProxyV2Every} {
		t.Run("header "+proxy.String(), func(t *testing.T) {
			n := newNetwork()
			mute, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.addr(11), 0)))
			if err != nil {
				t.Fatal(err)
			}
			defer mute.Close()
			e := start(t, fullnat.Config{Loops: 1})
			e.SetTimeouts(ipvs.Timeouts{UDP: time.Hour})
			s := udpService(t, n.addr(1), "rr", mute.LocalAddr().(*net.UDPAddr).AddrPort())
			s.Options.Locals, s.Options.ProxyProtocol = n.locals(1), proxy
			apply(t, e, s)
			c := udpClient(t, s.Addr)
			for i := range uint64(3) {
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				eventually(t, "it is passed on", func() bool { return e.Services()[0].Stats.InPkts == i+1 })
				e.Skew(40 * time.Minute)
			}
			if i := e.Services()[0]; i.Stats.Conns != 1 || i.Locals[0].Conns != 1 || i.Stats.InBytes != 3 {
				t.Errorf("%+v, %+v, want one session with 3 bytes", i.Stats, i.Locals)
			}
			e.Skew(40 * time.Minute)
			eventually(t, "it ends", func() bool { return e.Conns() == 0 })
			if i := e.Services()[0]; i.Locals[0].Conns != 0 {
				t.Errorf("%+v, want no sessions", i.Locals)
			}
		})
	}
}

// Datagrams for which there is no server are dropped, each counts, and nothing
// stays behind.
func TestUDPNoServer(t *testing.T) {
	for name, flags := range map[string]ipvs.Flags{"sessions": 0, "one packet": ipvs.OnePacket} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork()
			a, _ := serveUDP(t, n.addr(11), tagged("a"))
			e := start(t, fullnat.Config{Loops: 1})
			s := udpService(t, n.addr(1), "rr", a)
			s.Flags, s.Destinations[0].Weight = flags, 0
			apply(t, e, s)
			c := udpClient(t, s.Addr)
			send(t, c, []string{"one", "two", "three"})
			eventually(t, "three are dropped", func() bool { return e.Errors().Dropped == 3 })
			if e.Errors().Refused == 0 || e.Conns() != 0 {
				t.Errorf("%+v and %d sessions, want some refused and none", e.Errors(), e.Conns())
			}
			s.Destinations[0].Weight = 1
			apply(t, e, s)
			if got := query(t, c, "2"); got != "a2" {
				t.Errorf("answer %s, want a2", got)
			}
		})
	}
}

// Sessions that end leave the others alone: their clients stay with their
// servers, and nothing is made anew.
func TestUDPSessionsEndAmongOthers(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("a"))
	b, _ := serveUDP(t, n.addr(12), tagged("b"))
	e := start(t, fullnat.Config{Loops: 1})
	e.SetTimeouts(ipvs.Timeouts{UDP: time.Hour})
	s := udpService(t, n.addr(1), "rr", a, b)
	apply(t, e, s)
	var clients []*net.UDPConn
	var servers []string
	for range 300 {
		c := udpClient(t, s.Addr)
		clients, servers = append(clients, c), append(servers, query(t, c, ""))
	}
	e.Skew(40 * time.Minute)
	for i := 0; i < len(clients); i += 2 {
		query(t, clients[i], "")
	}
	e.Skew(40 * time.Minute)
	eventually(t, "every other session ends", func() bool { return e.Conns() == len(clients)/2 })
	for i := 0; i < len(clients); i += 2 {
		if got := query(t, clients[i], ""); got != servers[i] {
			t.Errorf("client %d is answered by %s, was by %s", i, got, servers[i])
		}
	}
	if got := e.Services()[0].Stats.Conns; got != uint64(len(clients)) {
		t.Errorf("%d sessions were made, want %d", got, len(clients))
	}
}
