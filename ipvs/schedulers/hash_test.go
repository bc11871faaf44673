package schedulers

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
)

func parse(words ...string) (list []netip.Addr) {
	for _, w := range words {
		list = append(list, netip.MustParseAddr(w))
	}
	return list
}

// own gives the client addresses of which the hashes are known.
func (n *network) own(t *testing.T, list []netip.Addr) {
	t.Helper()
	for _, a := range list {
		must(t, n.Own(n.Client, netip.PrefixFrom(a, a.BitLen())))
	}
}

func TestKernelSchedulerLiteralHash(t *testing.T) {
	n := newNetwork(t, 3)
	n.own(t, parse("192.0.2.1", "192.168.1.10", "192.0.2.7", "2001:db8::1", "2001:db8:1:2:3:4:5:6"))
	t.Run("sh", n.testSH)
	t.Run("mh", n.testMH)
}

// The list C B A with weights 0, 2, 1 makes a table C B B A C B B A ... of 256.
// Without ports the four addresses have buckets 50, 248, 63 and 124, and with
// port 40000 214, 156, 226 and 32. The fallback begins at twice the bucket.
func (n *network) testSH(t *testing.T) {
	clients := parse("192.0.2.1", "192.168.1.10", "2001:db8::1", "2001:db8:1:2:3:4:5:6")
	for _, tc := range []struct {
		name  string
		flags ipvs.Flags
		want  []string
	}{
		{"sh", 0, []string{"B", "-", "A", "-"}},
		{"sh-fallback", ipvs.Sched1, []string{"B", "B", "A", "B"}},
		{"sh-port", ipvs.Sched2, []string{"B", "-", "B", "-"}},
		{"sh-port sh-fallback", ipvs.Sched1 | ipvs.Sched2, []string{"B", "B", "B", "B"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := ipvs.Service{Scheduler: "sh", Flags: tc.flags}
			v4 := n.literal(t, "tcp", s, 1, 2, 0)
			v6 := n.lettered(t, "tcp", s, n.VIP6, 1, 2, 0)
			var got []string
			for i, l := range []*literal{v4, v4, v6, v6} {
				_, server := n.open(t, "tcp", netip.AddrPortFrom(clients[i], 40000), l.service.Addr)
				got = append(got, letter(server))
			}
			equal(t, tc.want, got)
		})
	}
}

// Servers 10.0.0.1:80 to 10.0.0.3:80 with weights 1, 2, 1: the clients' slots
// are 2891, 3323 and 1589, and with port 40000 3651, 1622 and 3607.
func (n *network) testMH(t *testing.T) {
	clients := parse("192.0.2.1", "192.168.1.10", "192.0.2.7")
	must(t, n.Director.AddAddr("eth0", netip.MustParsePrefix("10.0.0.254/24")))
	servers := parse("10.0.0.1", "10.0.0.2", "10.0.0.3")
	for i, h := range n.Servers {
		must(t, h.AddAddr("eth0", netip.PrefixFrom(servers[i], 32)))
		s, err := h.Serve("tcp", 80, servers[i])
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
	}
	for _, tc := range []struct {
		name  string
		flags ipvs.Flags
		want  []string
		quiet []string // when C has weight 0 after it had 1
	}{
		{"mh", 0, []string{"C", "A", "B"}, []string{"-", "A", "B"}},
		{"mh-fallback", ipvs.Sched1, []string{"C", "A", "B"}, []string{"B", "A", "B"}},
		{"mh-port", ipvs.Sched2, []string{"C", "B", "C"}, nil}, // the port is used once only
		{"mh-port mh-fallback", ipvs.Sched1 | ipvs.Sched2, nil, []string{"B", "B", "B"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n.port++
			s := ipvs.Service{Scheduler: "mh", Flags: tc.flags}
			s.ServiceKey = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(n.VIP4, n.port))
			var list []ipvs.Destination
			for i, w := range []int32{1, 2, 1} {
				list = append(list, ipvs.Destination{Addr: netip.AddrPortFrom(servers[i], 80), Weight: w})
			}
			n.make(t, s, list...)
			if tc.want != nil {
				equal(t, tc.want, n.servers(t, clients, 40000, s.Addr))
			}
			list[2].Weight = 0
			must(t, n.kernel.Do(ipvs.Change{Op: ipvs.UpdateDestination, Service: s, Destination: list[2]}))
			if tc.quiet != nil {
				port := uint16(40000)
				if tc.want != nil { // not again, and it does not count
					port++
				}
				equal(t, tc.quiet, n.servers(t, clients, port, s.Addr))
			}
		})
	}
}

// servers tells who has the connections of several clients.
func (n *network) servers(t *testing.T, clients []netip.Addr, port uint16, to netip.AddrPort) (list []string) {
	t.Helper()
	for _, a := range clients {
		_, server := n.open(t, "tcp", netip.AddrPortFrom(a, port), to)
		list = append(list, letter(server))
	}
	return list
}

// marked is a service of a firewall mark over virtual addresses.
func (n *network) marked(t *testing.T, scheduler string, virtual []netip.Addr, weights ...int32) *literal {
	t.Helper()
	n.port++
	n.mark++
	f := ipvs.IPv4
	if virtual[0].Is6() {
		f = ipvs.IPv6
	}
	for _, a := range virtual {
		must(t, n.AddVIP(a))
		must(t, n.Director.Mark("tcp", netip.AddrPortFrom(a, n.port), n.mark))
	}
	n.serve(t, "tcp", f, n.port)
	l := &literal{network: n, service: ipvs.Service{ServiceKey: ipvs.MarkService(n.mark, f), Scheduler: scheduler}, protocol: "tcp"}
	var list []ipvs.Destination
	for i, w := range weights {
		list = append(list, l.server(i, w))
	}
	n.make(t, l.service, list...)
	return l
}

// to opens connections to virtual addresses in turn.
func (l *literal) to(t *testing.T, virtual ...netip.Addr) (list []string) {
	t.Helper()
	for _, a := range virtual {
		client := l.Client.Addr4
		if a.Is6() {
			client = l.Client.Addr6
		}
		_, server := l.open(t, "tcp", l.from(client), netip.AddrPortFrom(a, l.port))
		list = append(list, letter(server))
	}
	return list
}

func TestKernelSchedulerLiteralMark(t *testing.T) {
	n := newNetwork(t, 4)
	t.Run("dh", n.testDH)
	t.Run("lblc", n.testLBLC)
}

// The table is the list D C B A over and over, whatever the weights. The virtual
// addresses have buckets 50, 248, 63 and 124.
func (n *network) testDH(t *testing.T) {
	v4 := parse("192.0.2.1", "192.168.1.10")
	v6 := parse("2001:db8:77::77:1", "2001:db8:1:2:3:4:5:6") // the first is 2001:db8::1 to the hash
	l := n.marked(t, "dh", v4, 1, 1, 1, 1)
	equal(t, []string{"B", "D", "B", "D"}, l.to(t, v4[0], v4[1], v4[0], v4[1]))
	l.do(t, ipvs.UpdateDestination, 3, 0)
	equal(t, []string{"B", "-"}, l.to(t, v4...))
	l.do(t, ipvs.DeleteDestination, 0, 0) // D C B
	equal(t, []string{"B", "B"}, l.to(t, v4...))
	l = n.marked(t, "dh", v6, 5, 1, 1, 1)
	equal(t, []string{"A", "D", "A", "D"}, l.to(t, v6[0], v6[1], v6[0], v6[1]))
}

// Every virtual address keeps to its server.
func (n *network) testLBLC(t *testing.T) {
	v := parse("192.0.2.21", "192.0.2.22")
	l := n.marked(t, "lblc", v, 1, 1)
	// wlc would take B A B A B. B has more than its weight in the end, but A is
	// not below half of its own.
	equal(t, []string{"B", "A", "B", "B", "A"}, l.to(t, v[0], v[1], v[0], v[0], v[1]))
	l = n.marked(t, "lblcr", v, 2, 2)
	equal(t, []string{"B", "A", "B", "B", "B", "A"}, l.to(t, v[0], v[1], v[0], v[0], v[0], v[1]))
	// A loses its connections' weight: with 6 it is below half and joins the set
	// of the first address, where it has the least for its weight.
	l.do(t, ipvs.UpdateDestination, 0, 6)
	equal(t, []string{"A", "A"}, l.to(t, v[0], v[0]))
}
