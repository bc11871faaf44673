package snat_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
)

const mark = 7

// TestKernelPlaneMarks: the services of one firewall mark, of TCP and UDP and
// several ports, persistent ones, too, on servers of every port.
// Packets with the mark that IPVS has not sent keep their address. The first
// service of a mark, and the last, leave others and counts as they are.
func TestKernelPlaneMarks(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 2, IPv6: true})
	if !available(t, n) {
		inside(t, n, func() error {
			if err := snat.Check(snat.Need{Family: ipvs.IPv4, Mark: true}); !errors.Is(err, snat.ErrNoNAT) {
				t.Errorf("marks: error %v, want %v", err, snat.ErrNoNAT)
			}
			return nil
		})
		return
	}
	for _, f := range []ipvs.Family{ipvs.IPv4, ipvs.IPv6} {
		t.Run(f.String(), func(t *testing.T) { checkMarks(t, n, f) })
	}
}

func checkMarks(t *testing.T, n *topo.Net, f ipvs.Family) {
	vip, plain, other := n.VIP4, netip.MustParseAddr("192.0.2.30"), netip.MustParseAddr("192.0.2.31")
	client, locals := n.Client.Addr4, []netip.Addr{netip.MustParseAddr("10.9.1.1"), netip.MustParseAddr("10.9.1.2"), netip.MustParseAddr("10.9.1.3")}
	of := func(h *topo.Host) netip.Addr { return h.Addr4 }
	if f == ipvs.IPv6 {
		vip, plain, other = n.VIP6, netip.MustParseAddr("2001:db8:ffff::30"), netip.MustParseAddr("2001:db8:ffff::31")
		client, locals = n.Client.Addr6, []netip.Addr{netip.MustParseAddr("fd09::1:1"), netip.MustParseAddr("fd09::1:2"), netip.MustParseAddr("fd09::1:3")}
		of = func(h *topo.Host) netip.Addr { return h.Addr6 }
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range locals {
		must(n.Director.AddAddr("eth0", netip.PrefixFrom(a, 16)))
	}
	must(n.AddVIP(plain))
	must(n.AddVIP(other))
	rs := n.Servers[0]
	for _, at := range []struct {
		network string
		port    uint16
	}{{"tcp", 80}, {"tcp", 81}, {"udp", 53}} {
		for _, h := range n.Servers {
			_, err := h.Serve(at.network, at.port, of(h))
			must(err)
		}
		must(n.Director.Mark(at.network, netip.AddrPortFrom(vip, at.port), mark))
	}
	must(n.Director.Mark("udp", netip.AddrPortFrom(of(rs), 9), mark))
	must(n.Director.Mark("tcp", netip.AddrPortFrom(other, 0), mark+1))

	group := ipvs.Service{ServiceKey: ipvs.MarkService(mark, f), Scheduler: "rr"}
	sticky := ipvs.Service{ServiceKey: ipvs.MarkService(mark+1, f), Scheduler: "rr", Flags: ipvs.Persistent, Timeout: time.Minute}
	web := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(plain, 80)), Scheduler: "rr"}
	var table ipvs.Table
	for _, s := range []struct {
		service ipvs.Service
		port    uint16
	}{{group, 0}, {sticky, 0}, {web, 80}} {
		e := ipvs.Entry{Service: s.service}
		for _, h := range n.Servers {
			e.Destinations = append(e.Destinations, ipvs.Destination{Addr: netip.AddrPortFrom(of(h), s.port), Method: ipvs.NAT, Weight: 1})
		}
		table = append(table, e)
	}
	inside(t, n, func() error {
		for _, k := range []sysctl.Knob{sysctl.VS("conntrack"), sysctl.Forward4, sysctl.Forward6} {
			if _, err := (sysctl.Netns{}).Set(k, "1"); err != nil {
				return err
			}
		}
		if err := snat.Check(snat.Need{Family: f, Mark: true}); err != nil {
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
	talk := func(network string, to netip.Addr, port uint16) topo.Answer {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a, err := n.Client.Ask(ctx, network, netip.AddrPort{}, netip.AddrPortFrom(to, port))
		if err != nil {
			t.Fatalf("%s %s: %v", network, netip.AddrPortFrom(to, port), err)
		}
		return a
	}
	var plane snat.Plane
	all := []snat.Service{{Key: web.ServiceKey, Locals: locals}, {Key: group.ServiceKey, Locals: locals}, {Key: sticky.ServiceKey, Locals: locals[:1]}}
	apply(t, n, &plane, all[:1], true)
	talk("tcp", plain, 80)
	apply(t, n, &plane, all, true)
	apply(t, n, &plane, all, false)
	apply(t, n, new(snat.Plane), all, false) // as the next process finds it
	same(t, n, all)

	servers, remotes := map[string]int{}, map[netip.Addr]int{}
	for range 2 {
		for network, ports := range map[string][]uint16{"tcp": {80, 81}, "udp": {53}} {
			for _, port := range ports {
				a := talk(network, vip, port)
				servers[a.Server]++
				remotes[a.Remote.Addr()]++
			}
		}
	}
	if want := (map[string]int{"rs1": 3, "rs2": 3}); !maps.Equal(servers, want) {
		t.Errorf("answered by %v, want %v", servers, want)
	}
	if want := (map[netip.Addr]int{locals[0]: 2, locals[1]: 2, locals[2]: 2}); !maps.Equal(remotes, want) {
		t.Errorf("servers saw %v, want %v", remotes, want)
	}
	first := talk("tcp", other, 80)
	for range 2 {
		if a := talk("tcp", other, 81); a.Server != first.Server || a.Remote.Addr() != locals[0] {
			t.Errorf("a persistent client: %+v, want %s and %s", a, first.Server, locals[0])
		}
	}

	// Others that are forwarded with the mark keep their address.
	captured, err := rs.Capture("eth0")
	must(err)
	must(n.Client.Do(func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(of(rs), 9).String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("x"))
		return err
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := captured.Wait(ctx, func(p topo.Packet) bool { return p.Dst == netip.AddrPortFrom(of(rs), 9) })
	must(err)
	if p.Src.Addr() != client {
		t.Errorf("a packet with the mark that is not IPVS' comes from %s, want %s", p.Src, client)
	}

	counted := func(want map[ipvs.ServiceKey]uint64) {
		t.Helper()
		inside(t, n, func() error {
			counts, err := plane.Counts()
			have := make(map[ipvs.ServiceKey]uint64)
			for k, n := range counts {
				have[k] = n.Conns
			}
			if !maps.Equal(have, want) {
				t.Errorf("counted %v, want %v", have, want)
			}
			return err
		})
	}
	counted(map[ipvs.ServiceKey]uint64{web.ServiceKey: 1, group.ServiceKey: 6, sticky.ServiceKey: 3})
	all[1].Locals = locals[2:]
	apply(t, n, &plane, all, true)
	if a := talk("tcp", vip, 80); a.Remote.Addr() != locals[2] {
		t.Errorf("with other local addresses the server sees %v", a.Remote)
	}
	counted(map[ipvs.ServiceKey]uint64{web.ServiceKey: 1, group.ServiceKey: 7, sticky.ServiceKey: 3})
	apply(t, n, &plane, all[:1], true)
	apply(t, n, new(snat.Plane), all[:1], false)
	talk("tcp", plain, 80)
	counted(map[ipvs.ServiceKey]uint64{web.ServiceKey: 2})
	inside(t, n, plane.Remove)
}
