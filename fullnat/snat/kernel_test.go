package snat_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inside does something on the director and fails the test if it cannot be done.
func inside(t *testing.T, n *topo.Net, f func() error) {
	t.Helper()
	if err := n.Director.Do(f); err != nil {
		t.Fatal(err)
	}
}

// available skips nothing: user-mode Linux has no NAT by nf_tables and must say
// so, every other kernel of the lab has it.
func available(t *testing.T, n *topo.Net) bool {
	t.Helper()
	var err error
	inside(t, n, func() error { err = snat.Check(snat.Need{Family: ipvs.IPv4}); return nil })
	if lab.Kind() == "uml" {
		if !errors.Is(err, snat.ErrNoNAT) {
			t.Fatalf("error %v, want %v", err, snat.ErrNoNAT)
		}
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

func nat(n *topo.Net, p ipvs.Protocol, port uint16) ipvs.Entry {
	e := ipvs.Entry{Service: ipvs.Service{ServiceKey: ipvs.AddrService(p, netip.AddrPortFrom(n.VIP4, port)), Scheduler: "rr"}}
	for _, rs := range n.Servers {
		e.Destinations = append(e.Destinations, ipvs.Destination{Addr: netip.AddrPortFrom(rs.Addr4, port), Method: ipvs.NAT, Weight: 1})
	}
	return e
}

// Real servers without a route back answer clients, over TCP and UDP; LIPs have
// even shares; what others flush comes back; nothing stays behind.
func TestKernelPlane(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 2})
	if !available(t, n) {
		return
	}
	locals := []netip.Addr{netip.MustParseAddr("10.9.1.1"), netip.MustParseAddr("10.9.1.2"), netip.MustParseAddr("10.9.1.3")}
	for _, a := range locals {
		if err := n.Director.AddAddr("eth0", netip.PrefixFrom(a, 16)); err != nil {
			t.Fatal(err)
		}
	}
	table := ipvs.Table{nat(n, ipvs.TCP, 80), nat(n, ipvs.UDP, 53)}
	for _, rs := range n.Servers {
		for network, port := range map[string]uint16{"tcp": 80, "udp": 53} {
			if _, err := rs.Serve(network, port); err != nil {
				t.Fatal(err)
			}
		}
	}
	var plane snat.Plane
	var want []snat.Service
	for _, e := range table {
		want = append(want, snat.Service{Key: e.Service.ServiceKey, Locals: locals})
	}
	inside(t, n, func() error {
		if _, err := (sysctl.Netns{}).Set(sysctl.VS("conntrack"), "1"); err != nil {
			return err
		}
		if _, err := (sysctl.Netns{}).Set("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
		c, err := ipvs.Dial(ipvs.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = ipvs.Reconcile(c, table, ipvs.ReconcileOptions{})
		return err
	})
	if _, err := ask(t, n, "tcp", 80, time.Second); err == nil {
		t.Fatal("servers have a route to clients: this proves nothing")
	}
	apply(t, n, &plane, want, true)
	apply(t, n, &plane, want, false)
	checkShares(t, n, "tcp", 80, locals)
	checkShares(t, n, "udp", 53, locals)
	checkCounts(t, n, &plane, want, 12)

	firewall := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "firewall"}
	inside(t, n, func() error { // somebody flushes everything
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.FlushRuleset()
		return c.Flush()
	})
	apply(t, n, &plane, want, true)
	checkShares(t, n, "tcp", 80, locals)
	inside(t, n, func() error { // and masquerades what leaves: of chains at one place the last made is asked first
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.AddTable(firewall)
		chain := c.AddChain(&nftables.Chain{Name: "postrouting", Table: firewall, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
		c.AddRule(&nftables.Rule{Table: firewall, Chain: chain, Exprs: []expr.Any{&expr.Masq{}}})
		return c.Flush()
	})
	apply(t, n, &plane, want, false)
	checkShares(t, n, "tcp", 80, locals)
	inside(t, n, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.DelTable(firewall)
		return c.Flush()
	})

	apply(t, n, &plane, []snat.Service{{Key: want[0].Key, Locals: locals[:1]}}, true)
	checkCounts(t, n, &plane, want[:1], 12) // goes on
	checkShares(t, n, "tcp", 80, locals[:1])
	inside(t, n, plane.Remove)
	inside(t, n, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		if len(tables) != 0 {
			t.Errorf("%d tables stay behind", len(tables))
		}
		return err
	})
}

func apply(t *testing.T, n *topo.Net, p *snat.Plane, want []snat.Service, changes bool) {
	t.Helper()
	inside(t, n, func() error {
		changed, err := p.Apply(want)
		if changed != changes {
			t.Errorf("changed %v, want %v", changed, changes)
		}
		return err
	})
}

func ask(t *testing.T, n *topo.Net, network string, port uint16, patience time.Duration) (topo.Answer, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return n.Client.Ask(ctx, network, netip.AddrPort{}, netip.AddrPortFrom(n.VIP4, port))
}

// checkShares makes twelve connections: every LIP and server has its share.
func checkShares(t *testing.T, n *topo.Net, network string, port uint16, locals []netip.Addr) {
	t.Helper()
	seen := map[netip.Addr]int{}
	for range 12 {
		a, err := ask(t, n, network, port, 30*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		seen[a.Remote.Addr()]++
	}
	for _, a := range locals {
		if seen[a] != 12/len(locals) {
			t.Errorf("%s from %s: %d connections, want %d; all: %v", network, a, seen[a], 12/len(locals), seen)
		}
	}
}

func checkCounts(t *testing.T, n *topo.Net, p *snat.Plane, want []snat.Service, least uint64) {
	t.Helper()
	inside(t, n, func() error {
		counts, err := p.Counts()
		for _, s := range want {
			if counts[s.Key].Conns < least {
				t.Errorf("%s: %d connections counted, want %d", s.Key, counts[s.Key].Conns, least)
			}
		}
		return err
	})
}

// TestKernelPlaneNotrack: connections to a service on the director, and from its
// local address to a real server, are not known to connection tracking, others
// are; the rules come back after a flush and leave nothing.
func TestKernelPlaneNotrack(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 1})
	if !available(t, n) {
		return
	}
	lip, rip := netip.MustParseAddr("10.9.1.1"), n.Servers[0].Addr4
	if err := n.Director.AddAddr("eth0", netip.PrefixFrom(lip, 16)); err != nil {
		t.Fatal(err)
	}
	for h, port := range map[*topo.Host]uint16{n.Director: 80, n.Servers[0]: 8080} {
		if _, err := h.Serve("tcp", port); err != nil {
			t.Fatal(err)
		}
	}
	inside(t, n, func() error { // somebody's firewall, or connections are not tracked anyway
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "filter"})
		chain := c.AddChain(&nftables.Chain{Name: "input", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}, &expr.Counter{}}})
		return c.Flush()
	})
	talk := func() (vip, leg bool) {
		t.Helper()
		inside(t, n, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
		if _, err := ask(t, n, "tcp", 80, 30*time.Second); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := n.Director.Ask(ctx, "tcp", netip.AddrPortFrom(lip, 0), netip.AddrPortFrom(rip, 8080)); err != nil {
			t.Fatal(err)
		}
		inside(t, n, func() error {
			all, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
			for _, f := range all {
				vip = vip || f.Forward.DstIP.Equal(n.VIP4.AsSlice())
				leg = leg || f.Forward.SrcIP.Equal(lip.AsSlice())
			}
			return err
		})
		return vip, leg
	}
	if vip, leg := talk(); !vip || !leg {
		t.Fatalf("tracked without rules: %v, %v", vip, leg)
	}
	var rules snat.Notrack
	vip := snat.Untracked{Key: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(n.VIP4, 80))}
	all := vip
	all.Locals, all.Ports = []netip.Addr{lip}, []uint16{8080}
	for _, want := range []struct {
		services []snat.Untracked
		vip, leg bool
	}{{[]snat.Untracked{vip}, false, true}, {[]snat.Untracked{all}, false, false}, {nil, true, true}} {
		for _, changes := range []bool{true, false} {
			inside(t, n, func() error {
				if differs, err := rules.Differs(want.services); err != nil || differs != changes {
					t.Errorf("differs: %v, %v", differs, err)
				}
				changed, err := rules.Apply(want.services)
				if changed != changes {
					t.Errorf("changed %v, want %v", changed, changes)
				}
				return err
			})
		}
		if vip, leg := talk(); vip != want.vip || leg != want.leg {
			t.Errorf("%+v: clients tracked %v, want %v; to servers %v, want %v", want.services, vip, want.vip, leg, want.leg)
		}
	}
	inside(t, n, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		if len(tables) != 1 {
			t.Errorf("%d tables, want the firewall's", len(tables))
		}
		return err
	})
}

func TestCheck(t *testing.T) {
	v4 := ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80"))
	lip4, lip6 := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1")
	for _, test := range []struct {
		service snat.Service
		want    error
	}{
		{snat.Service{Key: v4}, ipvs.ErrInvalid},
		{snat.Service{Key: v4, Locals: []netip.Addr{lip6}}, ipvs.ErrFamily},
		{snat.Service{Key: ipvs.MarkService(1, ipvs.IPv4), Locals: []netip.Addr{lip4}}, nil},
		{snat.Service{Key: ipvs.MarkService(1, ipvs.IPv4), Locals: []netip.Addr{lip6}}, ipvs.ErrFamily},
		{snat.Service{Key: ipvs.AddrService(1, v4.Addr), Locals: []netip.Addr{lip4}}, snat.ErrUnsupported},
	} {
		if err := test.service.Check(); !errors.Is(err, test.want) {
			t.Errorf("%+v: error %v, want %v", test.service, err, test.want)
		}
	}
}
