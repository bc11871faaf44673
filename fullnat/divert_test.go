package fullnat_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/fullnat/tproxy"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// divertNet is a director with clients and real servers that have no route back.
// Tests with it run wherever root may have network namespaces and the kernel has
// TPROXY; in the lab every kernel but user-mode Linux has to.
type divertNet struct {
	*topo.Net
	t *testing.T
	e *fullnat.Engine
}

const (
	divertMark = 7
	divertPort = 8000 // at which real servers answer, beside the ports of services
)

func newDivertNet(t *testing.T, loops int) *divertNet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces: needs root")
	}
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no TPROXY by nf_tables") // which TestKernelPlaneRules has it say
	}
	n, err := topo.New(topo.Spec{Clients: 2, Servers: 2, IPv6: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	d := &divertNet{Net: n, t: t}
	d.on(n.Director, func() error {
		if err := tproxy.Check(ipvs.IPv4); err != nil && lab.Kind() == "" {
			t.Skip(err)
		} else if err != nil {
			return err
		}
		return tproxy.Check(ipvs.IPv6)
	})
	d.serve()
	d.e = startOn(t, n.Director, fullnat.Config{Loops: loops})
	return d
}

// serve has the real servers answer.
func (d *divertNet) serve() {
	d.t.Helper()
	for _, s := range d.Servers {
		for _, network := range []string{"tcp", "udp"} {
			for _, port := range []uint16{divertPort, 80, 443, 53} {
				if _, err := s.Serve(network, port, s.Addr4, s.Addr6); err != nil {
					d.t.Fatal(err)
				}
			}
		}
	}
}

func (d *divertNet) on(h *topo.Host, f func() error) {
	d.t.Helper()
	if err := h.Do(f); err != nil {
		d.t.Fatal(err)
	}
}

// mark gives packets to an address the firewall mark, as users do: in a chain at
// mangle's priority.
func (d *divertNet) mark(to ...netip.Addr) {
	d.t.Helper()
	d.on(d.Director, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		for _, a := range to {
			f, at := nftables.TableFamilyIPv4, uint32(16)
			if a.Is6() {
				f, at = nftables.TableFamilyIPv6, 24
			}
			table := c.AddTable(&nftables.Table{Family: f, Name: "user"})
			chain := c.AddChain(&nftables.Chain{Name: "prerouting", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle})
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: uint32(a.BitLen() / 8)},
				&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: a.AsSlice()},
				&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(divertMark)},
				&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
			}})
		}
		return c.Flush()
	})
}

// route has the director take marked packets for its own, whatever address they
// are to: "ip rule add fwmark MARK lookup 100; ip route add local default dev lo
// table 100".
func (d *divertNet) route(mark uint32) {
	d.t.Helper()
	d.on(d.Director, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			rule := netlink.NewRule()
			rule.Mark, rule.Table, rule.Family = mark, 100, f
			if err := netlink.RuleAdd(rule); err != nil {
				return err
			}
			everything := netip.MustParsePrefix("0.0.0.0/0")
			if f == netlink.FAMILY_V6 {
				everything = netip.MustParsePrefix("::/0")
			}
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Table: 100, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Family: f, Dst: ipNetOf(everything)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// service is one with all real servers.
func (d *divertNet) service(k ipvs.ServiceKey, port uint16, flags ipvs.Flags) fullnat.Service {
	s := fullnat.Service{Service: ipvs.Service{ServiceKey: k, Scheduler: "rr", Flags: flags, Timeout: 5 * time.Minute}}
	for _, h := range d.Servers {
		a := h.Addr4
		if k.AF() == ipvs.IPv6 {
			a = h.Addr6
		}
		s.Destinations = append(s.Destinations, ipvs.Destination{Addr: netip.AddrPortFrom(a, port), Method: ipvs.FullNAT, Weight: 1})
	}
	return s
}

func (d *divertNet) apply(want ...fullnat.Service) {
	d.t.Helper()
	d.on(d.Director, func() error { return d.e.Apply(want) })
}

// ask asks from the first client.
func (d *divertNet) ask(network, to string) topo.Answer {
	d.t.Helper()
	a, err := d.Client.Ask(d.t.Context(), network, netip.AddrPort{}, netip.MustParseAddrPort(to))
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

// TestKernelPlaneMarks: a service of a firewall mark serves every port of every
// address that is marked, by TCP and UDP, IPv4 and IPv6, also addresses that are
// not the director's; real servers without a route back answer, at their own port,
// and without one at the one that the client asked. Its counters, listings and
// limits are those of other services.
func TestKernelPlaneMarks(t *testing.T) {
	d := newDivertNet(t, 2)
	foreign := map[ipvs.Family]netip.Addr{ipvs.IPv4: netip.MustParseAddr("192.0.2.99"), ipvs.IPv6: netip.MustParseAddr("2001:db8:ffff::99")}
	own := map[ipvs.Family]netip.Addr{ipvs.IPv4: d.VIP4, ipvs.IPv6: d.VIP6}
	var all []fullnat.Service
	for _, f := range []ipvs.Family{ipvs.IPv4, ipvs.IPv6} {
		d.mark(own[f], foreign[f])
		all = append(all, d.service(ipvs.MarkService(divertMark, f), divertPort, 0))
	}
	d.route(divertMark)
	d.apply(all...)
	for _, f := range []ipvs.Family{ipvs.IPv4, ipvs.IPv6} {
		for _, vip := range []netip.Addr{own[f], foreign[f]} {
			for _, network := range []string{"tcp", "udp"} {
				seen := map[string]bool{}
				for _, port := range []uint16{80, 443, 5000, 5001} {
					to := netip.AddrPortFrom(vip, port)
					a := d.ask(network, to.String())
					seen[a.Server] = true
					if a.Local.Port() != divertPort || a.Remote.Addr() != d.Director.Addr4 && a.Remote.Addr() != d.Director.Addr6 {
						t.Errorf("%s %s: the server has %v", network, to, a)
					}
				}
				if len(seen) != 2 {
					t.Errorf("%s %s: only %v answered", network, vip, seen)
				}
			}
		}
	}
	for _, s := range d.e.Services() {
		if s.Stats.Conns != 16 {
			t.Errorf("%s: %d connections, want 16", s.ServiceKey, s.Stats.Conns)
		}
	}
	virtuals := map[netip.AddrPort]int{}
	for _, c := range d.e.Connections() {
		virtuals[c.Virtual]++
		if c.Service.FWMark != 7 || c.Destination.Port() != divertPort {
			t.Errorf("%+v", c)
		}
	}
	for _, f := range []ipvs.Family{ipvs.IPv4, ipvs.IPv6} {
		for _, vip := range []netip.Addr{own[f], foreign[f]} {
			if n := virtuals[netip.AddrPortFrom(vip, 5001)]; n != 2 { // one of TCP that has ended, one session
				t.Errorf("%d connections to %s port 5001 are listed, want 2", n, vip)
			}
		}
	}

	all = []fullnat.Service{d.service(ipvs.MarkService(divertMark, ipvs.IPv4), 0, 0)}
	d.apply(all...)
	for _, port := range []string{"443", "80"} {
		if a := d.ask("tcp", "192.0.2.99:"+port); a.Local.Port() != netip.MustParseAddrPort("192.0.2.99:"+port).Port() {
			t.Errorf("asked port %s, the server has %v", port, a)
		}
	}
	d.apply()
	if _, err := d.Client.Ask(t.Context(), "tcp", netip.AddrPort{}, netip.AddrPortFrom(d.VIP4, 80)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the service is gone, and: %v", err)
	}
	d.on(d.Director, func() error {
		left, err := tproxy.Read()
		if len(left) > 0 {
			t.Errorf("rules are left: %v", left)
		}
		return err
	})
}

// TestKernelPlanePortZero: a service of port 0 takes all ports of its address
// that no other service has, and a client goes to one server with all of them.
func TestKernelPlanePortZero(t *testing.T) {
	d := newDivertNet(t, 2)
	for f, vip := range map[ipvs.Family]netip.Addr{ipvs.IPv4: d.VIP4, ipvs.IPv6: d.VIP6} {
		for p, network := range map[ipvs.Protocol]string{ipvs.TCP: "tcp", ipvs.UDP: "udp"} {
			every := d.service(ipvs.AddrService(p, netip.AddrPortFrom(vip, 0)), 0, ipvs.Persistent)
			exact := d.service(ipvs.AddrService(p, netip.AddrPortFrom(vip, 443)), divertPort, 0)
			ask := func(port uint16) topo.Answer { return d.ask(network, netip.AddrPortFrom(vip, port).String()) }
			d.apply(every)
			first := ask(80)
			for _, port := range []uint16{443, 53, divertPort, 80} {
				if a := ask(port); a.Server != first.Server || a.Local.Port() != port {
					t.Errorf("%s %s: port %d goes to %v, port 80 to %v", network, f, port, a, first)
				}
			}
			d.apply(every, exact)
			seen := map[string]bool{}
			for range 4 {
				a := ask(443)
				seen[a.Server] = true
				if a.Local.Port() != divertPort {
					t.Errorf("%s %s: the service of port 443 goes to %v", network, f, a)
				}
			}
			if a := ask(53); len(seen) != 2 || a.Server != first.Server {
				t.Errorf("%s %s: port 443 goes to %v, 53 to %v, 80 to %v", network, f, seen, a, first)
			}
			d.apply(every)
			if a := ask(443); a.Server != first.Server || a.Local.Port() != 443 {
				t.Errorf("%s %s: port 443 goes to %v when its service is gone, port 80 to %v", network, f, a, first)
			}
			templates := slices.DeleteFunc(d.e.Connections(), func(c fullnat.Connection) bool { return c.Client.Port() != 0 })
			if len(templates) != 1 || templates[0].Virtual != every.Addr || templates[0].Destination.Port() != 0 {
				t.Errorf("%s %s: templates %+v", network, f, templates)
			}
		}
	}
}

// TestKernelPlaneFull: a session that makes room for a new one may be the last of
// the address that both clients asked.
func TestKernelPlaneFull(t *testing.T) {
	d := newDivertNet(t, 1)
	d.mark(d.VIP4)
	d.route(divertMark)
	s := d.service(ipvs.MarkService(divertMark, ipvs.IPv4), divertPort, 0)
	s.Options.MaxConns = 1
	d.apply(s)
	for range 3 {
		d.ask("udp", netip.AddrPortFrom(d.VIP4, 5000).String())
	}
}

// TestKernelPlaneHeader: a PROXY header says what the client addressed.
func TestKernelPlaneHeader(t *testing.T) {
	d := newDivertNet(t, 2)
	d.mark(d.VIP4)
	s := d.service(ipvs.MarkService(divertMark, ipvs.IPv4), 9000, 0)
	s.Options.ProxyProtocol = fullnat.ProxyV1
	s.Destinations = s.Destinations[:1]
	d.apply(s)
	l, err := d.Servers[0].Listen("tcp", netip.AddrPortFrom(d.Servers[0].Addr4, 9000))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, port := range []uint16{80, 4443} {
		c, err := d.Client.Dial(t.Context(), "tcp", netip.AddrPort{}, netip.AddrPortFrom(d.VIP4, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		_ = in.SetDeadline(time.Now().Add(patience))
		from := netip.MustParseAddrPort(c.LocalAddr().String())
		want := fmt.Sprintf("PROXY TCP4 %s %s %d %d\r\n", from.Addr(), d.VIP4, from.Port(), port)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
			t.Errorf("header %q, %v, want %q", got, err, want)
		}
	}
}

// TestKernelPlaneThresholds: a threshold counts the connections to all ports of a
// mark, and of an address.
func TestKernelPlaneThresholds(t *testing.T) {
	d := newDivertNet(t, 2)
	other := netip.MustParseAddr("192.0.2.30")
	if err := d.AddVIP(other); err != nil {
		t.Fatal(err)
	}
	d.mark(d.VIP4)
	for to, s := range map[netip.Addr]fullnat.Service{
		d.VIP4: d.service(ipvs.MarkService(divertMark, ipvs.IPv4), divertPort, 0),
		other:  d.service(ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(other, 0)), 0, ipvs.Persistent),
	} {
		s.Destinations = s.Destinations[:1]
		s.Destinations[0].Upper = 2
		d.apply(s)
		for i, port := range []uint16{80, 443, 80} {
			client := d.Clients[i/2] // one whom a template leads is let in, as in the kernel (ip_vs_check_template)
			c, err := client.Dial(t.Context(), "tcp", netip.AddrPort{}, netip.AddrPortFrom(to, port))
			if err == nil {
				defer c.Close()
				_, err = c.Ask(t.Context())
			}
			if full := i == 2; full != errors.Is(err, unix.ECONNRESET) || !full && err != nil {
				t.Errorf("%s: connection %d: %v", s.ServiceKey, i+1, err)
			}
		}
	}
}

// TestKernelPlaneDatagramHeaders: headers of datagrams, of the first of a session,
// of each, and of those that are scheduled by themselves, say what the client
// addressed; answers come from there.
func TestKernelPlaneDatagramHeaders(t *testing.T) {
	d := newDivertNet(t, 1)
	d.mark(d.VIP4)
	var server, client net.PacketConn
	d.on(d.Servers[0], func() (err error) {
		server, err = net.ListenPacket("udp", netip.AddrPortFrom(d.Servers[0].Addr4, 9000).String())
		return err
	})
	d.on(d.Client, func() (err error) {
		client, err = net.ListenPacket("udp", netip.AddrPortFrom(d.Client.Addr4, 0).String())
		return err
	})
	var all sync.WaitGroup
	t.Cleanup(func() { server.Close(); client.Close(); all.Wait() })
	all.Go(func() {
		for b := make([]byte, 1500); ; {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(b[:n], from)
		}
	})
	_ = client.SetDeadline(time.Now().Add(patience))
	from := netip.MustParseAddrPort(client.LocalAddr().String())
	for i, test := range []struct {
		flags  ipvs.Flags
		proxy  fullnat.ProxyProtocol
		second bool // has a header, too
	}{{0, fullnat.ProxyV2, false}, {0, fullnat.ProxyV2Every, true}, {ipvs.OnePacket, fullnat.ProxyV2, true}, {ipvs.OnePacket, fullnat.ProxyV2Every, true}} {
		s := d.service(ipvs.MarkService(divertMark, ipvs.IPv4), 9000, test.flags)
		s.Options.ProxyProtocol, s.Destinations = test.proxy, s.Destinations[:1]
		d.apply() // sessions of the one before end
		d.apply(s)
		for _, port := range []uint16{53, 4433} {
			to := netip.AddrPortFrom(d.VIP4, port)
			for n, header := range []bool{true, test.second} {
				want := "data"
				if header {
					want = string(fullnat.AppendProxyHeader(nil, fullnat.ProxyV2, ipvs.UDP, from, to)) + want
				}
				if _, err := client.WriteTo([]byte("data"), net.UDPAddrFromAddrPort(to)); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 1500)
				got, at, err := client.ReadFrom(b)
				if err != nil {
					t.Fatalf("case %d, port %d, datagram %d: %v", i, port, n, err)
				}
				if string(b[:got]) != want || at.String() != to.String() {
					t.Errorf("case %d, port %d, datagram %d: the server got %q, want %q; the answer is of %s", i, port, n, b[:got], want, at)
				}
			}
		}
	}
}

// TestKernelPlaneDrift: rules that somebody takes away are missed, and come back;
// what is connected does not notice.
func TestKernelPlaneDrift(t *testing.T) {
	d := newDivertNet(t, 2)
	d.apply(d.service(ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(d.VIP4, 0)), 0, ipvs.Persistent))
	to := netip.AddrPortFrom(d.VIP4, 80)
	c, err := d.Client.Dial(t.Context(), "tcp", netip.AddrPort{}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	differs := func(want bool) {
		t.Helper()
		d.on(d.Director, func() error {
			if is, err := d.e.Differs(); err != nil || is != want {
				t.Errorf("differs: %v, %v, want %v", is, err, want)
			}
			return nil
		})
	}
	differs(false)
	d.on(d.Director, func() error {
		n, err := nftables.New()
		if err != nil {
			return err
		}
		n.FlushRuleset()
		return n.Flush()
	})
	differs(true)
	if _, err := d.Client.Ask(t.Context(), "tcp", netip.AddrPort{}, to); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("without rules: %v", err)
	}
	if _, err := c.Ask(t.Context()); err != nil {
		t.Errorf("the connection has ended: %v", err)
	}
	d.on(d.Director, d.e.Mend)
	differs(false)
	d.ask("tcp", to.String())
}

func ipNetOf(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// TestMarkWithoutRights: who may not divert packets is told what it takes, and has
// all other services; nothing is half done.
func TestMarkWithoutRights(t *testing.T) {
	n := newNetwork()
	rs := serveTCP(t, n.addr(11), echo)
	e := start(t, fullnat.Config{Loops: 2})
	s := tcpService(t, n.addr(1), "rr", rs)
	mark, every := s, s
	mark.ServiceKey = ipvs.MarkService(4711, ipvs.IPv4)
	every.ServiceKey, every.Flags = ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(n.addr(2), 0)), ipvs.Persistent
	for _, left := range []uint32{0, 1 << unix.CAP_NET_RAW} { // with which a socket can be made transparent
		failed := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends, and its rights with it
			hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var have, less [2]unix.CapUserData
			err := unix.Capget(&hdr, &have[0])
			less[0].Effective = have[0].Permitted & left
			less[0].Permitted = have[0].Permitted & left
			failed <- errors.Join(err, unix.Capset(&hdr, &less[0]))
			failed <- e.Apply([]fullnat.Service{mark, s, every})
		}()
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		err := <-failed
		if err == nil || strings.Count(err.Error(), "CAP_NET_ADMIN") != 2 {
			t.Errorf("with capabilities %#x: error %v", left, err)
		}
		if all := e.Services(); len(all) != 1 || all[0].ServiceKey != s.ServiceKey {
			t.Errorf("with capabilities %#x: %d services", left, len(all))
		}
		if files, err := e.Listeners(); err != nil || len(files) != 2 {
			t.Errorf("with capabilities %#x: %d listening sockets, %v", left, len(files), err)
		} else {
			for _, f := range files {
				f.Close()
			}
		}
	}
	c := dial(t, s.Addr)
	say(t, c, "hello")
	hear(t, c, "hello")
}
