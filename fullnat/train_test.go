package fullnat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// trainSocket has a socket report trains as such, which nobody sees otherwise.
func trainSocket(t *testing.T, c *net.UDPConn) *net.UDPConn {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) })
	if err != nil {
		t.Skipf("no UDP_GRO: %v", err)
	}
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func listenUDP(t *testing.T, a netip.Addr) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// hearAll reads so many datagrams, and returns how many calls it took and who
// sent the last ones.
func hearAll(t *testing.T, c *net.UDPConn, want int) (got []string, calls int, from netip.AddrPort) {
	t.Helper()
	b, oob := make([]byte, 1<<16), make([]byte, 128)
	for len(got) < want {
		n, k, _, who, err := c.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			t.Fatalf("%d of %d datagrams: %v", len(got), want, err)
		}
		calls, from = calls+1, who
		got = append(got, datagrams(t, b[:n], oob[:k])...)
	}
	return got, calls, from
}

// datagrams takes a train apart.
func datagrams(t *testing.T, b, oob []byte) (all []string) {
	t.Helper()
	each := len(b)
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range cmsgs {
		if m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_GRO {
			each = int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	if each == 0 {
		return []string{""}
	}
	for chunk := range slices.Chunk(b, each) {
		all = append(all, string(chunk))
	}
	return all
}

// texts are datagrams of these sizes, each different from the others.
func texts(sizes ...int) (all []string) {
	for i, n := range sizes {
		all = append(all, strings.Repeat(string(rune('0'+i%64)), n))
	}
	return all
}

func times(n, size int) []int { return slices.Repeat([]int{size}, n) }

func send(t *testing.T, c *net.UDPConn, all []string) {
	t.Helper()
	for _, text := range all {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
}

// Datagrams of one client that follow each other go on together, and arrive as
// they were sent: the same ones, in order, with headers where they belong.
func TestUDPTrains(t *testing.T) {
	for _, test := range []struct {
		name  string
		proxy fullnat.ProxyProtocol
		flags ipvs.Flags
		off   bool // the kernel has no trains
		sizes []int
		calls int // by which the server hears them
	}{
		{"one", fullnat.NoProxy, 0, false, times(1, 100), 1},
		{"equal", fullnat.NoProxy, 0, false, times(10, 100), 1},
		{"without trains", fullnat.NoProxy, 0, true, times(10, 100), 10},
		{"the last is shorter", fullnat.NoProxy, 0, false, append(times(5, 100), 40), 1},
		{"one between is shorter", fullnat.NoProxy, 0, false, []int{100, 100, 40, 100, 100}, 2},
		{"growing", fullnat.NoProxy, 0, false, []int{1, 2, 3}, 3},
		{"shrinking", fullnat.NoProxy, 0, false, []int{3, 2, 1}, 2},
		{"empty", fullnat.NoProxy, 0, false, []int{100, 0, 100, 0, 0, 1}, 6},
		{"long", fullnat.NoProxy, 0, false, times(4, 20000), 2},
		{"header", fullnat.ProxyV2, 0, false, times(10, 100), 2},
		{"header of an empty one", fullnat.ProxyV2, 0, false, []int{0, 28, 28}, 1},
		{"headers", fullnat.ProxyV2Every, 0, false, append(times(10, 100), 7), 1},
		{"headers without trains", fullnat.ProxyV2Every, 0, true, times(10, 100), 10},
		{"one-packet", fullnat.NoProxy, ipvs.OnePacket, false, times(10, 100), 10},
	} {
		for _, together := range []bool{false, true} { // the client sends trains itself
			if together && slices.Contains(test.sizes, 0) {
				continue
			}
			t.Run(fmt.Sprintf("%s/client sends trains %v", test.name, together), func(t *testing.T) {
				n := newNetwork()
				server, at := listenUDP(t, n.addr(11))
				trainSocket(t, server)
				e := start(t, fullnat.Config{Loops: 1})
				if test.off {
					e.NoTrains()
				}
				s := udpService(t, n.addr(1), "rr", at)
				s.Flags, s.Options = test.flags, fullnat.Options{ProxyProtocol: test.proxy, Locals: n.locals(2)}
				apply(t, e, s)
				c := trainSocket(t, udpClient(t, s.Addr))
				want := texts(test.sizes...)
				e.Pause()
				if together {
					sendTogether(t, c, want)
				} else {
					send(t, c, want)
				}
				e.Resume()
				got, calls, from := hearAll(t, server, len(want))
				if calls != test.calls {
					t.Errorf("%d datagrams in %d calls, want %d", len(want), calls, test.calls)
				}
				head := string(fullnat.AppendProxyHeader(nil, test.proxy, ipvs.UDP, c.LocalAddr().(*net.UDPAddr).AddrPort(), s.Addr))
				for i := range want {
					if text := want[i]; test.proxy == fullnat.ProxyV2Every || test.proxy == fullnat.ProxyV2 && i == 0 {
						want[i] = head + text
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("the server heard %.40q, want %.40q", got, want)
				}
				answers := texts(test.sizes...)
				e.InLoops(func() { // which looks at none before it has all
					for _, text := range answers {
						server.WriteToUDPAddrPort([]byte(text), from)
					}
				})
				got, calls, _ = hearAll(t, c, len(answers))
				if !slices.Equal(got, answers) {
					t.Errorf("the client heard %.40q, want %.40q", got, answers)
				}
				if most := test.calls; test.proxy == fullnat.NoProxy && test.flags == 0 && calls != most {
					t.Errorf("%d answers in %d calls, want %d", len(answers), calls, most)
				}
				bytes := uint64(0)
				for _, size := range test.sizes {
					bytes += uint64(size)
				}
				if st, k := e.Services()[0].Stats, uint64(len(answers)); st.InPkts != k || st.OutPkts != k || st.InBytes != bytes || st.OutBytes != bytes {
					t.Errorf("statistics %+v, want %d datagrams and %d bytes each way", st, k, bytes)
				}
				if n := e.Errors().Dropped; n != 0 {
					t.Errorf("%d datagrams dropped", n)
				}
			})
		}
	}
}

// sendTogether sends datagrams of equal size as trains.
func sendTogether(t *testing.T, c *net.UDPConn, all []string) {
	t.Helper()
	for len(all) > 0 {
		each, n := len(all[0]), 1
		for n < len(all) && len(all[n]) <= each && len(all[n-1]) == each && (n+1)*each < 65000 {
			n++
		}
		oob := make([]byte, unix.CmsgSpace(2))
		h := unix.Cmsghdr{Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
		h.SetLen(unix.CmsgLen(2))
		var b bytes.Buffer
		binary.Write(&b, binary.NativeEndian, h)
		binary.Write(&b, binary.NativeEndian, uint16(each))
		copy(oob, b.Bytes())
		if n == 1 {
			oob = nil
		}
		if _, _, err := c.WriteMsgUDPAddrPort([]byte(strings.Join(all[:n], "")), oob, netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
}

// A server that is gone: nothing of a train is lost but what was sent before
// anybody could know.
func TestUDPTrainRefused(t *testing.T) {
	n := newNetwork()
	server, a := listenUDP(t, n.addr(11))
	gone, b := listenUDP(t, n.addr(12))
	trainSocket(t, server)
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", a, b)
	s.Options.ProxyProtocol = fullnat.ProxyV2
	apply(t, e, s)
	c := udpClient(t, s.Addr)
	send(t, c, []string{"first"})
	trainSocket(t, gone)
	hearAll(t, gone, 1)
	gone.Close()
	send(t, c, []string{"lost"})
	eventually(t, "the second is gone, too", func() bool { return e.Services()[0].Stats.InPkts == 2 })
	e.Pause()
	want := texts(append(times(9, 80), 5)...)
	send(t, c, want)
	e.Resume()
	got, calls, _ := hearAll(t, server, len(want))
	want[0] = string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.UDP, c.LocalAddr().(*net.UDPAddr).AddrPort(), s.Addr)) + want[0]
	if !slices.Equal(got, want) || calls != 2 {
		t.Errorf("the other server heard %.60q in %d calls, want %.60q in 2", got, calls, want)
	}
}

// With v2-every each datagram has a header, and where there is no room for one
// it is dropped and the next arrive.
func TestUDPHeadersEvery(t *testing.T) {
	n := newNetwork()
	a, _ := serveUDP(t, n.addr(11), tagged("got "))
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", a)
	s.Options.ProxyProtocol = fullnat.ProxyV2Every
	apply(t, e, s)
	c := udpClient(t, s.Addr)
	head := string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.UDP, c.LocalAddr().(*net.UDPAddr).AddrPort(), s.Addr))
	for i := range 3 {
		if got, want := query(t, c, "data"), "got "+head+"data"; got != want {
			t.Errorf("the server got %q, want %q", got, want)
		}
		send(t, c, []string{strings.Repeat("x", 65507)})
		eventually(t, "the longest one is dropped", func() bool { return e.Errors().Dropped == uint64(i+1) })
	}
	s.Protocol = ipvs.TCP
	if err := e.Apply([]fullnat.Service{s}); err == nil || !strings.Contains(err.Error(), "v2-every is for UDP") {
		t.Errorf("as a TCP service: %v, want an error", err)
	}
}

// A server that sends more than anybody can pass on at once keeps nobody else
// waiting: what a loop has to do besides comes between its answers.
func TestUDPTurns(t *testing.T) {
	n := newNetwork()
	server, at := listenUDP(t, n.addr(11))
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", at)
	apply(t, e, s)
	c := udpClient(t, s.Addr)
	send(t, c, []string{"go"})
	_, _, from := hearAll(t, server, 1)
	const answers = 220
	heard := 0
	hear := func(until time.Time) {
		b := make([]byte, 100)
		for c.SetReadDeadline(until); heard < answers; heard++ {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}
	e.InTurns(func() {
		for i := range answers {
			server.WriteToUDPAddrPort([]byte{byte(i)}, from)
		}
	}, func() {}, func() { hear(time.Now().Add(time.Millisecond)) })
	if heard == answers {
		t.Errorf("all of %d answers came before anything else", heard)
	}
	if hear(time.Now().Add(patience)); heard != answers {
		t.Errorf("%d answers, want %d", heard, answers)
	}
}

// Many clients' datagrams of random sizes, mixed at random and more than a batch
// holds: each arrives as it was sent and in the order of its client, and so do the
// answers.
func TestUDPTrainsMixed(t *testing.T) {
	n := newNetwork()
	server, at := listenUDP(t, n.addr(11))
	server.SetReadBuffer(4 << 20)
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", at)
	s.Options = fullnat.Options{ProxyProtocol: fullnat.ProxyV2Every, Locals: n.locals(4)}
	apply(t, e, s)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	clients := map[netip.AddrPort]*net.UDPConn{}
	for len(clients) < 6 {
		c := udpClient(t, s.Addr)
		c.SetReadDeadline(time.Now().Add(patience))
		clients[c.LocalAddr().(*net.UDPAddr).AddrPort()] = c
	}
	who := slices.SortedFunc(maps.Keys(clients), netip.AddrPort.Compare)
	server.SetReadDeadline(time.Now().Add(patience))
	for range 20 {
		want, got, from := map[netip.AddrPort][]string{}, map[netip.AddrPort][]string{}, map[netip.AddrPort]netip.AddrPort{}
		const most = 90
		e.Pause()
		for sent := 0; sent < most; {
			client, size := who[random.IntN(len(who))], []int{0, 1, 50, 51, 1200}[random.IntN(5)]
			for range min(1+random.IntN(8), most-sent) { // most are part of a run
				text := strings.Repeat(string(rune('!'+sent)), size)
				send(t, clients[client], []string{text})
				want[client] = append(want[client], text)
				sent++
			}
		}
		e.Resume()
		b := make([]byte, 1<<16)
		for range most {
			k, lip, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				t.Fatal(err)
			}
			head, err := fullnat.ParseProxyHeader(b[:k])
			if err != nil {
				t.Fatalf("a datagram without its header: %v", err)
			}
			got[head.Client] = append(got[head.Client], string(b[head.Length:k]))
			from[head.Client] = lip
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("the server heard %.20q, want %.20q", got, want)
		}
		e.InLoops(func() {
			for client, texts := range want {
				for _, text := range texts {
					server.WriteToUDPAddrPort([]byte(text), from[client])
				}
			}
		})
		for client, texts := range want {
			for i, text := range texts {
				if k, err := clients[client].Read(b); err != nil || string(b[:k]) != text {
					t.Fatalf("answer %d: %.20q, %v, want %.20q", i, b[:k], err, text)
				}
			}
		}
	}
	if n := e.Errors().Dropped; n != 0 {
		t.Errorf("%d datagrams dropped", n)
	}
}

// Clients' datagrams come mixed. What there is of each goes on together.
func TestUDPTrainsOfMany(t *testing.T) {
	n := newNetwork()
	server, at := listenUDP(t, n.addr(11))
	trainSocket(t, server)
	e := start(t, fullnat.Config{Loops: 1})
	s := udpService(t, n.addr(1), "rr", at)
	apply(t, e, s)
	a, b := udpClient(t, s.Addr), udpClient(t, s.Addr)
	e.Pause()
	for range 10 {
		send(t, a, []string{"of a"})
		send(t, b, []string{"of the other"})
	}
	e.Resume()
	got, calls, _ := hearAll(t, server, 20)
	if want := append(slices.Repeat([]string{"of a"}, 10), slices.Repeat([]string{"of the other"}, 10)...); !slices.Equal(got, want) || calls != 2 {
		t.Errorf("the server heard %q in %d calls, want %q in 2", got, calls, want)
	}
}
