package snat_test

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
)

// served is a service that the kernel's plane is asked to serve.
type served struct {
	name    string
	proto   ipvs.Protocol
	port    uint16   // 0: every port, on an address of its own
	asked   []uint16 // by clients; nil: port
	rport   uint16   // of the real servers
	service ipvs.Service
	sees    sees
}

// sees is what clients and servers see of a service.
type sees uint8

const (
	shared sees = iota // both servers have even shares
	one                // a client stays with one server
	direct             // the director is the server, and sees the client: there is nothing to rewrite
	silent             // nobody answers
)

// TestKernelPlaneServes: what the kernel's plane can serve, on both families and
// with real servers that have no route back, and what it cannot.
func TestKernelPlaneServes(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 2, IPv6: true})
	if !available(t, n) {
		return
	}
	every := map[bool]netip.Addr{false: netip.MustParseAddr("192.0.2.20"), true: netip.MustParseAddr("2001:db8:ffff::20")}
	locals := map[bool][]netip.Addr{}
	for _, a := range []string{"10.9.1.1", "10.9.1.2", "10.9.1.3", "fd09::1:1", "fd09::1:2", "fd09::1:3"} {
		lip := netip.MustParseAddr(a)
		locals[lip.Is6()] = append(locals[lip.Is6()], lip)
		if err := n.Director.AddAddr("eth0", netip.PrefixFrom(lip, 16)); err != nil {
			t.Fatal(err)
		}
	}
	for _, vip := range every {
		if err := n.AddVIP(vip); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range n.Servers {
		for _, at := range []struct {
			network string
			port    uint16
		}{{"tcp", 80}, {"tcp", 81}, {"tcp", 8080}, {"udp", 53}, {"sctp", 80}} {
			if _, err := h.Serve(at.network, at.port, h.Addr4, h.Addr6); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := n.Director.Serve("tcp", 8088, n.Director.Addr4, n.Director.Addr6); err != nil {
		t.Fatal(err)
	}

	var all []served
	persistent := ipvs.Service{Scheduler: "rr", Flags: ipvs.Persistent, Timeout: time.Minute}
	var table ipvs.Table
	var want []snat.Service
	for _, v6 := range []bool{false, true} {
		for _, s := range []served{
			{name: "tcp", proto: ipvs.TCP, port: 80, rport: 80},
			{name: "same servers and ports again", proto: ipvs.TCP, port: 8000, rport: 80},
			{name: "another port", proto: ipvs.TCP, port: 8001, rport: 8080},
			{name: "udp", proto: ipvs.UDP, port: 53, rport: 53},
			{name: "sctp", proto: ipvs.SCTP, port: 80, rport: 80},
			{name: "one packet", proto: ipvs.UDP, port: 54, rport: 53, service: ipvs.Service{Scheduler: "rr", Flags: ipvs.OnePacket}, sees: silent},
			{name: "persistent", proto: ipvs.TCP, port: 8002, rport: 80, service: persistent, sees: one},
			{name: "every port", proto: ipvs.TCP, asked: []uint16{80, 81, 8080}, service: persistent, sees: one},
			{name: "sh", proto: ipvs.TCP, port: 8003, rport: 80, service: ipvs.Service{Scheduler: "sh"}, sees: one},
			{name: "mh", proto: ipvs.TCP, port: 8004, rport: 80, service: ipvs.Service{Scheduler: "mh"}, sees: one},
			{name: "the director itself", proto: ipvs.TCP, port: 8005, rport: 8088, sees: direct},
		} {
			vip, servers := n.VIP4, n.Servers
			if v6 {
				vip = n.VIP6
			}
			if s.asked == nil {
				s.asked = []uint16{s.port}
			} else {
				vip = every[v6]
			}
			if s.sees == direct {
				servers = []*topo.Host{n.Director}
			}
			s.service.ServiceKey = ipvs.AddrService(s.proto, netip.AddrPortFrom(vip, s.port))
			s.service.Scheduler = cmp.Or(s.service.Scheduler, "rr")
			e := ipvs.Entry{Service: s.service}
			for _, h := range servers {
				a := h.Addr4
				if v6 {
					a = h.Addr6
				}
				e.Destinations = append(e.Destinations, ipvs.Destination{Addr: netip.AddrPortFrom(a, s.rport), Method: ipvs.NAT, Weight: 1})
			}
			table = append(table, e)
			want = append(want, snat.Service{Key: s.service.ServiceKey, Locals: locals[v6]})
			all = append(all, s)
		}
	}
	inside(t, n, func() error {
		for _, k := range []sysctl.Knob{sysctl.VS("conntrack"), sysctl.Forward4, sysctl.Forward6} {
			if _, err := (sysctl.Netns{}).Set(k, "1"); err != nil {
				return err
			}
		}
		c, err := ipvs.Dial(ipvs.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = ipvs.Reconcile(c, table, ipvs.ReconcileOptions{})
		return err
	})
	var plane snat.Plane
	apply(t, n, &plane, want, true)
	for i, s := range all {
		t.Run(s.name+" "+s.service.Addr.Addr().String(), func(t *testing.T) { s.check(t, n, want[i].Locals) })
	}
	inside(t, n, func() error {
		counts, err := plane.Counts()
		for _, s := range all {
			if s.sees != silent && s.sees != direct && counts[s.service.ServiceKey].Conns != clients {
				t.Errorf("%s: %d connections counted, want %d", s.service.ServiceKey, counts[s.service.ServiceKey].Conns, clients)
			}
		}
		return err
	})
}

const clients = 6

// check has clients ask: every server and LIP has its share, exactly.
func (s *served) check(t *testing.T, n *topo.Net, locals []netip.Addr) {
	servers, remotes := map[string]int{}, map[netip.Addr]int{}
	ask := func(port uint16, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		a, err := n.Client.Ask(ctx, s.proto.String(), netip.AddrPort{}, netip.AddrPortFrom(s.service.Addr.Addr(), port))
		if err == nil {
			servers[a.Server]++
			remotes[a.Remote.Addr()]++
		}
		return err
	}
	if s.sees == silent {
		if err := ask(s.port, time.Second); err == nil {
			t.Errorf("it is served, by %v: director.Choose need not refuse it any more", servers)
		}
		return
	}
	for i := range clients {
		if err := ask(s.asked[i%len(s.asked)], time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	wantRemotes, wantServers := map[netip.Addr]int{}, map[string]int{"rs1": clients / 2, "rs2": clients / 2}
	for _, a := range locals {
		wantRemotes[a] = clients / len(locals)
	}
	switch {
	case s.sees == direct:
		client := n.Client.Addr4
		if s.service.Addr.Addr().Is6() {
			client = n.Client.Addr6
		}
		wantServers, wantRemotes = map[string]int{"director": clients}, map[netip.Addr]int{client: clients}
	case s.sees == one && len(servers) == 1:
		wantServers = servers
	}
	if !maps.Equal(servers, wantServers) || !maps.Equal(remotes, wantRemotes) {
		t.Errorf("answered by %v, want %v; servers saw %v, want %v", servers, wantServers, remotes, wantRemotes)
	}
}
