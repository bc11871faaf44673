package fullnat_test

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// paths is a director behind a router, with a client on each of two links.
type paths struct {
	*topo.Net
	t *testing.T
	e *fullnat.Engine
}

func newPaths(t *testing.T) *paths {
	n := topotest.New(t, topo.Spec{Clients: 2, Servers: 2, IPv6: true, Router: true})
	return &paths{n, t, startOn(t, n.Director, fullnat.Config{Loops: 1})}
}

func (p *paths) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// on runs a change of a host's network.
func (p *paths) on(h *topo.Host, change func() error) {
	p.t.Helper()
	p.must(h.Do(change))
}

// serve makes a service, and has the hosts that are named answer for it.
func (p *paths) serve(vip netip.Addr, protocol ipvs.Protocol, port uint16, servers []netip.Addr, answering ...*topo.Host) netip.AddrPort {
	p.t.Helper()
	s := fullnat.Service{Service: ipvs.Service{ServiceKey: ipvs.AddrService(protocol, netip.AddrPortFrom(vip, port)), Scheduler: "fo"}}
	for i, a := range servers { // the last has the highest weight
		s.Destinations = append(s.Destinations, ipvs.Destination{Addr: netip.AddrPortFrom(a, port), Method: ipvs.FullNAT, Weight: int32(1 + i)})
	}
	for _, h := range answering {
		own := h.Addr4
		if servers[0].Is6() {
			own = h.Addr6
		}
		at, err := h.Serve(protocol.String(), port, own)
		p.must(err)
		p.t.Cleanup(func() { at.Close() })
	}
	p.on(p.Director, func() error { return p.e.Apply([]fullnat.Service{s}) })
	return s.Addr
}

// narrow cuts what fits through the router's link to a client.
func (p *paths) narrow(link string, mtu int) {
	p.on(p.Router, func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(l, mtu)
	})
}

// A way that is too narrow for long datagrams loses none of the answers to IPv4
// clients, and of other datagrams the first: the kernel hears of it by ICMP, and
// what it says about the one before is no reason to lose the next.
func TestKernelPathMTU(t *testing.T) {
	p := newPaths(t)
	far := p.Clients[1]
	long := strings.Repeat("x", 1400)
	for _, test := range []struct {
		name   string
		vip    netip.Addr
		server netip.Addr
		narrow string // link
		lost   int    // datagrams that may be
	}{
		{"server", p.VIP4, far.Addr4, "client2", 1},
		{"server ipv6", p.VIP6, far.Addr6, "client2", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := p.serve(test.vip, ipvs.UDP, 53, []netip.Addr{test.server}, far)
			c, err := p.Client.Dial(t.Context(), "udp", netip.AddrPort{}, to)
			p.must(err)
			defer c.Close()
			_, err = c.Say(t.Context(), long) // as long as the way is wide
			p.must(err)
			p.narrow(test.narrow, 1280)
			defer p.narrow(test.narrow, 1500)
			dropped := p.e.Errors().Dropped
			for lost := 0; ; lost++ {
				if _, err = c.Write([]byte(long)); err != nil {
					t.Fatal(err)
				}
				_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // an answer that is late is heard the next time
				if _, err = c.Read(make([]byte, 200)); err == nil {
					break
				}
				if lost == test.lost {
					t.Fatalf("more than %d datagrams lost: %v", test.lost, err)
				}
			}
			if n := p.e.Errors().Dropped - dropped; n != 0 {
				t.Errorf("%d datagrams dropped", n)
			}
			p.must(p.e.Apply(nil))
		})
	}
}

// Where datagrams need fragments there are no trains: what follows each other
// arrives whole, both ways, also when a way has become narrower.
func TestKernelTrainsInFragments(t *testing.T) {
	p := newPaths(t)
	far := p.Clients[1]
	var failed error
	p.e.InLoops(func() { failed = stayOnCPU() }) // as loops do that are no test's
	p.must(failed)
	for _, test := range []struct {
		name         string
		vip, server  netip.Addr
		equal        int // and one that is shorter
		size, narrow int
		answer       int // the server's own way does not get narrower
		lost         int // trains that may be
	}{
		{"two", p.VIP4, far.Addr4, 1, 3000, 1500, 3000, 0},
		{"long", p.VIP4, far.Addr4, 5, 3000, 1500, 3000, 0},
		{"long ipv6", p.VIP6, far.Addr6, 5, 3000, 1500, 3000, 0},
		{"narrow", p.VIP4, far.Addr4, 5, 1400, 1280, 100, 1},
		{"narrow ipv6", p.VIP6, far.Addr6, 5, 1400, 1280, 100, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, err := far.ListenPacket("udp", netip.AddrPortFrom(test.server, 53))
			p.must(err)
			defer server.Close()
			to := p.serve(test.vip, ipvs.UDP, 53, []netip.Addr{test.server})
			c, err := p.Client.Dial(t.Context(), "udp", netip.AddrPort{}, to)
			p.must(err)
			defer c.Close()
			p.narrow("client2", test.narrow)
			defer p.narrow("client2", 1500)
			want, answers := texts(append(times(test.equal, test.size), 7)...), texts(append(times(test.equal, test.answer), 7)...)
			for lost := 0; ; lost++ {
				p.e.Pause()
				p.must(inOrder(c.Conn, want))
				p.e.Resume()
				got, from := arrived(server, len(want))
				if slices.Equal(got, want) {
					p.e.InLoops(func() {
						for _, text := range answers {
							server.WriteTo([]byte(text), from)
						}
					})
					break
				}
				if lost == test.lost || len(got) > 1 {
					t.Fatalf("the server heard %.20q, want %.20q", got, want)
				}
			}
			if got, _ := arrived(c.Conn.(net.PacketConn), len(answers)); !slices.Equal(got, answers) {
				t.Errorf("the client heard %.20q, want %.20q", got, answers)
			}
			if n := p.e.Errors().Dropped; n != 0 {
				t.Errorf("%d datagrams dropped", n)
			}
			p.must(p.e.Apply(nil))
		})
	}
}

// inOrder sends datagrams that arrive in their order.
func inOrder(c net.Conn, texts []string) error {
	sent := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its CPU
		err := stayOnCPU()
		for i := 0; i < len(texts) && err == nil; i++ {
			_, err = c.Write([]byte(texts[i]))
		}
		sent <- err
	}()
	return <-sent
}

// stayOnCPU ties the thread to a CPU, that what it sends keeps its order. Between
// network namespaces a packet may wait in the queue of the CPU that sent it, and
// one that is sent after the thread was moved to another is there first.
func stayOnCPU() error {
	var all, one unix.CPUSet
	err := unix.SchedGetaffinity(0, &all)
	for cpu := 0; one.Count() == 0 && err == nil; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err != nil {
		return err
	}
	return unix.SchedSetaffinity(0, &one)
}

// arrived are so many datagrams, or those that came in time.
func arrived(c net.PacketConn, want int) (got []string, from net.Addr) {
	b := make([]byte, 1<<16)
	for len(got) < want {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, who, err := c.ReadFrom(b)
		if err != nil {
			break
		}
		got, from = append(got, string(b[:n])), who
	}
	return got, from
}

// Long answers to an IPv4 client arrive, in fragments, at once.
func TestKernelAnswersInFragments(t *testing.T) {
	p := newPaths(t)
	const port = 53
	c, err := p.Servers[0].ListenPacket("udp", netip.AddrPortFrom(p.Servers[0].Addr4, port))
	p.must(err)
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 10)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(make([]byte, 1400), from)
		}
	}()
	to := p.serve(p.VIP4, ipvs.UDP, port, []netip.Addr{p.Servers[0].Addr4})
	p.narrow("client1", 1000)
	client, err := p.Client.Dial(t.Context(), "udp", netip.AddrPort{}, to)
	p.must(err)
	defer client.Close()
	if _, err := client.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(patience))
	if n, err := client.Read(make([]byte, 2000)); n != 1400 || err != nil {
		t.Errorf("%d bytes, %v, want 1400", n, err)
	}
}

// A server that a router cannot reach is one that failed, at once, and not after
// the time to connect.
func TestKernelServerUnreachable(t *testing.T) {
	p := newPaths(t)
	for _, family := range []string{"203.0.113.7", "2001:db8:7::7"} {
		gone := netip.MustParseAddr(family)
		vip, own := p.VIP4, p.Servers[0].Addr4
		if gone.Is6() {
			vip, own = p.VIP6, p.Servers[0].Addr6
		}
		p.on(p.Router, func() error {
			return netlink.RouteAdd(&netlink.Route{Dst: netlink.NewIPNet(gone.AsSlice()), Type: unix.RTN_UNREACHABLE})
		})
		to := p.serve(vip, ipvs.TCP, 80, []netip.Addr{own, gone}, p.Servers[0])
		a, err := p.Client.Ask(t.Context(), "tcp", netip.AddrPort{}, to)
		p.must(err)
		info, _ := p.e.Service(ipvs.AddrService(ipvs.TCP, to))
		if d := info.Destinations[0]; a.Server != p.Servers[0].Name || d.Failures != 1 || d.Addr.Addr() != gone {
			t.Errorf("server %s, %d failures of %s, want rs1 after 1 of %s", a.Server, d.Failures, d.Addr, gone)
		}
		if p.e.Errors().Unreachable != 0 {
			t.Error("the connection counts as lost")
		}
	}
}

// linkLocal is the address of the host's interface that needs a scope.
func linkLocal(h *topo.Host) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80}
	copy(a[10:], h.MAC[:])
	return netip.AddrFrom16(a)
}

// Link-local addresses in front and behind, which mean something together with
// an interface only.
func TestKernelLinkLocal(t *testing.T) {
	p := newPaths(t)
	server, client := p.Servers[0], p.Servers[1] // which is on the same link
	at := func(h *topo.Host, port uint16, zone string) netip.AddrPort {
		return netip.AddrPortFrom(linkLocal(h).WithZone(zone), port)
	}
	index := func(h *topo.Host) (zone string) {
		p.on(h, func() error {
			l, err := netlink.LinkByName("eth0")
			if err == nil {
				zone = fmt.Sprint(l.Attrs().Index)
			}
			return err
		})
		return zone
	}
	for _, protocol := range []ipvs.Protocol{ipvs.TCP, ipvs.UDP} {
		t.Run(protocol.String(), func(t *testing.T) {
			const port = 80
			p.on(server, func() error { return answer(t, protocol.String()+"6", at(server, port, index(server)).String()) })
			vip := at(p.Director, port, "eth0")
			s := fullnat.Service{Service: ipvs.Service{ServiceKey: ipvs.AddrService(protocol, vip), Scheduler: "sh"},
				Destinations: []ipvs.Destination{{Addr: at(server, port, "eth0"), Method: ipvs.FullNAT, Weight: 1}}}
			p.on(p.Director, func() error { return p.e.Apply([]fullnat.Service{s}) })
			var c net.Conn
			p.on(client, func() (err error) {
				c, err = net.Dial(protocol.String()+"6", at(p.Director, port, index(client)).String())
				return err
			})
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			say(t, c, "x")
			b := make([]byte, 200)
			n, err := c.Read(b)
			if want := "x from " + linkLocal(p.Director).String(); err != nil || string(b[:n]) != want {
				t.Errorf("answer %q, %v, want %q", b[:n], err, want)
			}
			list := p.e.Connections()
			if len(list) != 1 || list[0].Client.Addr().WithZone("") != linkLocal(client) {
				t.Errorf("listed: %+v, want one connection of %s", list, linkLocal(client))
			}
			p.must(p.e.Apply(nil))
			c.Close()
			eventually(t, "it ends", func() bool { return p.e.Conns() == 0 })
			p.e.Skew(5 * time.Minute)
			eventually(t, "it is forgotten", func() bool { return p.e.Ghosts() == 0 })
		})
	}
}

// answer serves what it hears and who said so, until the test ends.
func answer(t *testing.T, network, at string) error {
	if strings.HasPrefix(network, "udp") {
		c, err := net.ListenPacket(network, at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			b := make([]byte, 100)
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(fmt.Appendf(nil, "%s from %s", b[:n], from.(*net.UDPAddr).AddrPort().Addr().WithZone("")), from)
			}
		}()
		return nil
	}
	ln, err := net.Listen(network, at)
	if err != nil {
		return err
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 100)
			n, _ := c.Read(b)
			fmt.Fprintf(c, "%s from %s", b[:n], c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().WithZone(""))
			c.Close()
		}
	}()
	return nil
}
