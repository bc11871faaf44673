package snat_test

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/google/nftables"
)

// many are n services with two local addresses each.
func many(n int) (all []snat.Service) {
	locals := []netip.Addr{netip.MustParseAddr("10.9.1.1"), netip.MustParseAddr("10.9.1.2")}
	for i := range n {
		vip := netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)})
		all = append(all, snat.Service{Key: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip, 80)), Locals: locals})
	}
	return all
}

// TestKernelPlaneManyLocals: a service has as many local addresses as have room,
// and one more is refused with what there may be.
func TestKernelPlaneManyLocals(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 1, IPv6: true})
	if !available(t, n) {
		return
	}
	s := snat.Service{Key: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("[2001:db8::10]:80"))}
	for a := netip.MustParseAddr("fd09::1:0"); len(s.Locals) < snat.MostLocals; a = a.Next() {
		s.Locals = append(s.Locals, a)
	}
	var plane snat.Plane
	apply(t, n, &plane, []snat.Service{s}, true)
	inside(t, n, func() error {
		have, err := plane.Services()
		if len(have) != 1 || !slices.Equal(have[0].Locals, s.Locals) {
			t.Errorf("not what was wanted: %d services", len(have))
		}
		s.Locals = append(s.Locals, netip.MustParseAddr("fd09::2"))
		if _, wrong := plane.Apply([]snat.Service{s}); !errors.Is(wrong, snat.ErrUnsupported) {
			t.Errorf("one more: %v", wrong)
		}
		return err
	})
	inside(t, n, plane.Remove)
}

// scales are numbers of services.
var scales = [...]int{1, 100, 1000}

// BenchmarkKernelPlaneChange gives one service of many other local addresses.
func BenchmarkKernelPlaneChange(b *testing.B) {
	n := topotest.New(b, topo.Spec{Servers: 1})
	for _, scale := range scales {
		b.Run(strconv.Itoa(scale), func(b *testing.B) {
			err := n.Director.Do(func() error {
				var plane snat.Plane
				want := many(scale)
				if _, err := plane.Apply(want); err != nil {
					return err
				}
				locals := want[0].Locals
				for i := 0; b.Loop(); i++ {
					want[0].Locals = locals[:1+i%2]
					if _, err := plane.Apply(want); err != nil {
						return err
					}
				}
				return plane.Remove()
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkKernelPlaneConnections makes connections to the last of many
// services, of one datagram each. Give -benchtime a number.
func BenchmarkKernelPlaneConnections(b *testing.B) {
	n := topotest.New(b, topo.Spec{Servers: 1})
	e := nat(n, ipvs.UDP, 53)
	err := n.Director.Do(func() error {
		for _, s := range []sysctl.Setting{{Knob: sysctl.VS("conntrack"), Value: "1"}, {Knob: sysctl.Forward4, Value: "1"}} {
			if _, err := (sysctl.Netns{}).Set(s.Knob, s.Value); err != nil {
				return err
			}
		}
		c, err := ipvs.Dial(ipvs.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = ipvs.Reconcile(c, ipvs.Table{e}, ipvs.ReconcileOptions{})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, scale := range scales {
		b.Run(strconv.Itoa(scale), func(b *testing.B) {
			var plane snat.Plane
			err := n.Director.Do(func() error {
				want := append(many(scale-1), snat.Service{Key: e.Service.ServiceKey, Locals: many(1)[0].Locals})
				_, err := plane.Apply(want)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
			err = n.Client.Do(func() error {
				for b.Loop() {
					c, err := net.Dial("udp", netip.AddrPortFrom(n.VIP4, 53).String())
					if err == nil {
						_, err = c.Write([]byte("x"))
					}
					if err == nil {
						err = c.Close()
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			if err := n.Director.Do(plane.Remove); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// TestKernelPlaneMany: more services than fit into a message, one of them with more local
// addresses than a rule has room to name. A change of one leaves the others'
// rules and all counts as they are, and what others did to one is found.
func TestKernelPlaneMany(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 1})
	if !available(t, n) {
		return
	}
	want := many(120)
	want = append(want, snat.Service{Key: ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("[2001:db8::1]:53"))})
	for i := range 100 {
		want[7].Locals = append(want[7].Locals[:i:i], netip.AddrFrom4([4]byte{10, 9, 2, byte(i)}))
		want[120].Locals = append(want[120].Locals, netip.AddrFrom16([16]byte{0xfd, 15: byte(i + 1)}))
	}
	var plane snat.Plane
	apply(t, n, &plane, want, true)
	apply(t, n, new(snat.Plane), want, false) // as the next process finds it
	same(t, n, want)
	before := handles(t, n)

	want[7].Locals = want[7].Locals[1:] // changed
	want[0] = want[119]                 // one is gone, another comes
	want[119].Key = ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("10.200.0.120:80"))
	apply(t, n, &plane, want, true)
	apply(t, n, &plane, want, false)
	apply(t, n, new(snat.Plane), want, false)
	same(t, n, want)
	after := handles(t, n)
	delete(before, "tcp-10.200.0.0-80")
	delete(after, "tcp-10.200.0.120-80")
	before["tcp-10.200.0.7-80"] = after["tcp-10.200.0.7-80"]
	if !maps.Equal(before, after) {
		t.Errorf("rules of services that have not changed are new: %v, before %v", after, before)
	}

	for name, spoil := range map[string]func(c *nftables.Conn, table *nftables.Table){
		"a chain is flushed": func(c *nftables.Conn, table *nftables.Table) {
			c.FlushChain(&nftables.Chain{Table: table, Name: "tcp-10.200.0.9-80"})
		},
		"the hook's is flushed": func(c *nftables.Conn, table *nftables.Table) {
			c.FlushChain(&nftables.Chain{Table: table, Name: "postrouting"})
		},
		"nothing leads to chains": func(c *nftables.Conn, table *nftables.Table) {
			c.FlushSet(&nftables.Set{Table: table, Name: "services"})
		},
		"the table is gone": func(c *nftables.Conn, table *nftables.Table) { c.DelTable(table) },
	} {
		inside(t, n, func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			spoil(c, &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "goipvs"})
			if err := c.Flush(); err != nil {
				return err
			}
			if differs, err := plane.Differs(want); err != nil || !differs {
				t.Errorf("%s: differs %v, %v", name, differs, err)
			}
			return nil
		})
		apply(t, n, &plane, want, true)
	}
	apply(t, n, new(snat.Plane), want, false)
	inside(t, n, plane.Remove)
}

// same tells that the kernel has these services.
func same(t *testing.T, n *topo.Net, want []snat.Service) {
	t.Helper()
	want = slices.SortedFunc(slices.Values(want), func(a, b snat.Service) int { return a.Key.Compare(b.Key) })
	inside(t, n, func() error {
		have, err := new(snat.Plane).Services()
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%d services are read back, want %d, or they differ", len(have), len(want))
		}
		return err
	})
}

// handles are the handles of the rules of services, by chain.
func handles(t *testing.T, n *topo.Net) (all map[string]uint64) {
	t.Helper()
	inside(t, n, func() (err error) { all, err = snat.Handles(); return err })
	return all
}
