package schedulers

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// letters are what the hand-written sequences call servers, in the order in
// which they are added, so that the kernel's list is the other way round.
const letters = "ABCD"

// What the kernel chooses, worked out by hand from the algorithms. All
// connections stay open.
var literals = []struct {
	name      string
	scheduler string
	weights   []int32
	want      string // "-" is a refused connection
}{
	{"rr", "rr", []int32{1, 1, 1}, "C B A C B A"},
	{"rr knows weight 0 only", "rr", []int32{7, 0, 1}, "C A C A"},
	{"wrr begins with the lowest round", "wrr", []int32{4, 3, 2}, "C B A A B A C B A C B A A B A C B A"},
	{"wrr with a common divisor", "wrr", []int32{10, 5}, "B A A B A A"},
	{"wrr with equal servers", "wrr", []int32{4, 2, 2}, "C B A A C B A A"},
	{"lc", "lc", []int32{1, 1, 1}, "C B A C B A C"},
	{"lc knows weight 0 only", "lc", []int32{7, 1, 0}, "B A B A"},
	{"wlc", "wlc", []int32{1, 2, 4}, "C B A C C B C C B A C C B C"},
	{"sed", "sed", []int32{1, 2, 4}, "C C B C C B A C C B C C B A"},
	{"nq", "nq", []int32{1, 2, 4}, "C B A C C C B C C B C C B A"},
	{"fo", "fo", []int32{1, 5, 5}, "C C C C C C C C"},
	{"ovf takes one more than the weight", "ovf", []int32{3, 5, 2}, "B B B B B B A A A A C C C -"},
	{"lblc spills when another is half idle", "lblc", []int32{2, 2, 4}, "C C C C C B B B A A A A A A"},
	{"lblcr spreads over its set", "lblcr", []int32{2, 2, 4}, "C C C C C B B B A A A C A B"},
	{"nobody", "wlc", []int32{0, 0}, "- -"},
}

func TestKernelSchedulerLiteral(t *testing.T) {
	n := newNetwork(t, len(letters))
	t.Run("sequences", n.testSequences)
	t.Run("changes", n.testChanges)
	t.Run("udp", n.testUDP)
	t.Run("one packet", n.testOnePacket)
	t.Run("thresholds", n.testThresholds)
}

func (n *network) testSequences(t *testing.T) {
	for _, tc := range literals {
		t.Run(tc.name, func(t *testing.T) {
			l := n.literal(t, "tcp", ipvs.Service{Scheduler: tc.scheduler}, tc.weights...)
			want := strings.Fields(tc.want)
			equal(t, want, l.next(t, len(want)))
		})
	}
}

// literal is a service of servers with letters.
type literal struct {
	*network
	service  ipvs.Service
	protocol string
}

func (n *network) literal(t *testing.T, protocol string, s ipvs.Service, weights ...int32) *literal {
	t.Helper()
	return n.lettered(t, protocol, s, n.VIP4, weights...)
}

func (n *network) lettered(t *testing.T, protocol string, s ipvs.Service, vip netip.Addr, weights ...int32) *literal {
	t.Helper()
	n.port++
	s.ServiceKey = ipvs.AddrService(protocols[protocol], netip.AddrPortFrom(vip, n.port))
	l := &literal{n, s, protocol}
	n.serve(t, protocol, s.AF(), n.port)
	var servers []ipvs.Destination
	for i, w := range weights {
		servers = append(servers, l.server(i, w))
	}
	n.make(t, l.service, servers...)
	return l
}

// server is the one of letter i.
func (l *literal) server(i int, weight int32) ipvs.Destination {
	port := l.service.Addr.Port() // 0 keeps the virtual port, for marks
	return ipvs.Destination{Addr: netip.AddrPortFrom(addr(l.Servers[i], l.service.AF()), port), Weight: weight}
}

// do changes the server of letter i.
func (l *literal) do(t *testing.T, op ipvs.Op, i int, weight int32) {
	t.Helper()
	must(t, l.kernel.Do(ipvs.Change{Op: op, Service: l.service, Destination: l.server(i, weight)}))
}

// next opens connections and tells the letters of their servers.
func (l *literal) next(t *testing.T, n int) (list []string) {
	t.Helper()
	for range n {
		_, server := l.open(t, l.protocol, l.from(l.Client.Addr4), l.service.Addr)
		list = append(list, letter(server))
	}
	return list
}

func letter(server string) string {
	if server == refused {
		return "-"
	}
	return letters[server[2]-'1' : server[2]-'0'] // rs1 is A
}

// A change of servers leaves rr where it is, and a new one is first in the list.
func (n *network) testChanges(t *testing.T) {
	t.Run("rr, server deleted", func(t *testing.T) {
		l := n.literal(t, "tcp", ipvs.Service{Scheduler: "rr"}, 1, 1, 1)
		equal(t, []string{"C", "B"}, l.next(t, 2))
		l.do(t, ipvs.DeleteDestination, 1, 1)
		equal(t, []string{"A", "C", "A", "C"}, l.next(t, 4))
	})
	t.Run("rr, server added", func(t *testing.T) {
		l := n.literal(t, "tcp", ipvs.Service{Scheduler: "rr"}, 1, 1, 1)
		equal(t, []string{"C", "B"}, l.next(t, 2))
		l.do(t, ipvs.AddDestination, 3, 1)
		equal(t, []string{"A", "D", "C", "B", "A"}, l.next(t, 5))
	})
	t.Run("wrr, from the top after a switch", func(t *testing.T) {
		l := n.literal(t, "tcp", ipvs.Service{Scheduler: "rr"}, 4, 3, 2)
		l.service.Scheduler = "wrr"
		must(t, n.kernel.Do(ipvs.Change{Op: ipvs.UpdateService, Service: l.service}))
		equal(t, strings.Fields("A B A C B A C B A A B A"), l.next(t, 12))
	})
}

// UDP is never active: sed sees no load, nq nobody busy, ovf nobody full.
func (n *network) testUDP(t *testing.T) {
	for _, tc := range []struct{ scheduler, want string }{
		{"rr", "C B A C B A"}, {"lc", "C B A C B A"}, {"wlc", "C B A C C B C"}, {"sed", "C C C C C C"},
		{"nq", "C C C C C C"}, {"ovf", "C C C C C C"}, {"lblc", "C C C C C C"},
	} {
		t.Run(tc.scheduler, func(t *testing.T) {
			l := n.literal(t, "udp", ipvs.Service{Scheduler: tc.scheduler}, 1, 2, 4)
			want := strings.Fields(tc.want)
			equal(t, want, l.next(t, len(want)))
		})
	}
}

// An upper threshold of 4 and no lower one: full at 4, and usable again below
// three quarters of it, which is at 2.
func (n *network) testThresholds(t *testing.T) {
	for _, tc := range []struct {
		name         string
		upper, lower uint32
		want         []string // after 4, 3, 2 and 1 connections are left
	}{
		{"no lower threshold", 4, 0, []string{"-", "-", "A"}},
		{"lower threshold", 4, 2, []string{"-", "-", "-", "A"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := n.literal(t, "tcp", ipvs.Service{Scheduler: "rr"})
			d := l.server(0, 1)
			d.Upper, d.Lower = tc.upper, tc.lower
			must(t, n.kernel.Do(ipvs.Change{Op: ipvs.AddDestination, Service: l.service, Destination: d}))
			var conns []*topo.Conn
			for range 4 {
				c, server := l.open(t, "tcp", l.from(l.Client.Addr4), l.service.Addr)
				equal(t, "A", letter(server))
				conns = append(conns, c)
			}
			var got []string
			for i := range tc.want {
				if i > 0 {
					n.expire(t, l.service, conns[i-1])
				}
				got = append(got, l.next(t, 1)...)
			}
			equal(t, tc.want, got)
		})
	}
}

// With one-packet scheduling nothing is ever counted: lc and wlc take the first
// server of the list, sed the highest weight, and no threshold is reached.
func (n *network) testOnePacket(t *testing.T) {
	for _, tc := range []struct{ scheduler, want string }{
		{"rr", "C B A C B A"}, {"lc", "C C C C"}, {"wlc", "C C C C"}, {"sed", "B B B B"}, {"wrr", "C B A B B C B C B A"},
	} {
		t.Run(tc.scheduler, func(t *testing.T) {
			l := n.literal(t, "udp", ipvs.Service{Scheduler: tc.scheduler, Flags: ipvs.OnePacket}, 1, 4, 2)
			d := l.server(2, 2)
			d.Upper = 1
			must(t, n.kernel.Do(ipvs.Change{Op: ipvs.UpdateDestination, Service: l.service, Destination: d}))
			var got []string
			want := strings.Fields(tc.want)
			for range want {
				got = append(got, letter(l.datagram(t)))
			}
			equal(t, want, got)
		})
	}
}

// datagram sends one and tells who answered: the server itself, as the director
// keeps nothing to change the answer by.
func (l *literal) datagram(t *testing.T) string {
	t.Helper()
	c, err := l.Client.ListenPacket("udp", l.from(l.Client.Addr4))
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(topo.Patience)))
	_, err = c.WriteTo([]byte("name\n"), net.UDPAddrFromAddrPort(l.service.Addr))
	must(t, err)
	buf := make([]byte, 200)
	size, _, err := c.ReadFrom(buf)
	must(t, err)
	a, err := topo.ParseAnswer(string(buf[:size]))
	must(t, err)
	return a.Server
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
