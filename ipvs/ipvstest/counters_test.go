package ipvstest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// counterSteps are what happens to counters. After each, the first destination
// of the services is compared.
func counterSteps(vip, other ipvs.Service, r ipvs.Destination) []step {
	change := func(text string, cs ...ipvs.Change) step {
		return step{text, func(c Client) error {
			for _, ch := range cs {
				if err := c.Do(ch); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	return []step{
		change("nothing"),
		change("edit the destination", editIn(vip, ipvs.Destination{Addr: r.Addr, Weight: 9})),
		change("edit the service", edit(func() ipvs.Service { s := vip; s.Scheduler = "wlc"; return s }())),
		change("delete the destination and add it again", removeFrom(vip, r), addTo(vip, r)),
		change("delete it and add it to another service", removeFrom(vip, r), addTo(other, r)),
		change("and back", removeFrom(other, r), addTo(vip, r)),
		change("delete the service and make it again", remove(vip), add(vip), addTo(vip, r)),
	}
}

func TestCountersComeBack(t *testing.T) {
	stats := ipvs.Stats{Conns: 1, InPkts: 3, InBytes: 99, CPS: 1}
	vip, other, r := udp("192.0.2.1:5300"), udp("192.0.2.1:5301"), rs("192.0.2.2:53")
	load := Load{Active: 2, Inactive: 1, Persistent: 4, Stats: stats}
	fresh := ipvs.DestinationInfo{Destination: r}
	had := ipvs.DestinationInfo{Destination: r, Active: 2, Inactive: 1, Persistent: 4, Stats: stats}
	heavy := had
	heavy.Weight = 9
	uncounted := had
	uncounted.Stats = ipvs.Stats{}
	tests := map[string]ipvs.DestinationInfo{
		"nothing":              had,
		"edit the destination": heavy,
		"edit the service":     had,
		"delete the destination and add it again": had,
		"and back": had,
		"delete it and add it to another service": fresh,
		"delete the service and make it again":    uncounted,
	}
	steps := counterSteps(vip, other, r)
	if len(steps) != len(tests) {
		t.Fatalf("%d steps, %d are known", len(steps), len(tests))
	}
	for i, s := range steps {
		t.Run(s.text, func(t *testing.T) {
			k := New(Options{})
			for _, c := range these(add(vip), add(other), addTo(vip, r)) {
				do(t, k, c)
			}
			k.Count(vip.ServiceKey, stats)
			k.CountDestination(vip.ServiceKey, r.Addr, load)
			if s.text == "and back" {
				if err := steps[i-1].do(k); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.do(k); err != nil {
				t.Fatal(err)
			}
			isSame(t, tests[s.text], firstOf(t, k, vip, other))
		})
	}
}

func TestZeroKeepsConnections(t *testing.T) {
	k := withWeb(t, "10.0.0.1:80")
	k.Count(web, ipvs.Stats{Conns: 5, InBPS: 7})
	k.CountDestination(web, real, Load{Active: 3, Stats: ipvs.Stats{Conns: 5}})
	if err := k.ZeroService(web); err != nil {
		t.Fatal(err)
	}
	got, err := k.Service(web)
	if err != nil || got.Stats != (ipvs.Stats{}) {
		t.Errorf("service %+v, %v; want no counters", got.Stats, err)
	}
	isSame(t, ipvs.DestinationInfo{Destination: ipvs.Destination{Addr: real, Weight: 1}, Active: 3}, firstOf(t, k, tcp("192.0.2.1:80")))
}

func TestEmptyTrash(t *testing.T) {
	k := withWeb(t, "10.0.0.1:80")
	k.CountDestination(web, real, Load{Active: 3})
	do(t, k, removeFrom(tcp("192.0.2.1:80"), ipvs.Destination{Addr: real}))
	k.EmptyTrash()
	do(t, k, addReal("10.0.0.1:80"))
	if got := firstOf(t, k, tcp("192.0.2.1:80")); got.Active != 0 {
		t.Errorf("%d connections came back out of an empty trash", got.Active)
	}
}

func TestCountOfWhatIsNotTherePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"service":     func() { New(Options{}).Count(web, ipvs.Stats{}) },
		"destination": func() { withWeb(t).CountDestination(web, real, Load{}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it did not panic")
				}
			}()
			f()
		})
	}
}

// firstOf is the first destination that any of the services has, without
// rates, which change with time.
func firstOf(t *testing.T, c Client, services ...ipvs.Service) ipvs.DestinationInfo {
	t.Helper()
	for _, s := range services {
		ds, err := c.Destinations(s.ServiceKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) > 0 {
			return ds[0]
		}
	}
	t.Fatal("there is no destination")
	return ipvs.DestinationInfo{}
}

// TestKernelCounters sends real traffic, gives the fake the same counters, and
// then both must keep, lose and find them again alike.
func TestKernelCounters(t *testing.T) {
	lab.Need(t)
	k, fake := fresh(t, dial), newConforming()
	vip, other, r := udp("192.0.2.1:5300"), udp("192.0.2.1:5301"), rs("192.0.2.2:53")
	haveAddrs(t, vip.Addr.Addr(), r.Addr.Addr())
	server, client := listen(t, r.Addr), listen(t, netip.AddrPort{})
	for _, c := range []Client{k, fake} {
		if err := c.Apply(changes(3, func(i int) ipvs.Change { return these(add(vip), add(other), addTo(vip, r))[i] })); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range counterSteps(vip, other, r) {
		if firstOf(t, k, vip, other).Stats.InPkts == 0 && s.text != "and back" {
			send(t, client, server, vip.Addr, 3)
			counted(t, k, vip, 3)
		}
		copyCounters(t, k, fake, vip, other)
		for _, c := range []Client{k, fake} {
			if err := s.do(c); err != nil {
				t.Fatal(s.text, err)
			}
		}
		if diff := cmp.Diff(withoutRates(firstOf(t, k, vip, other)), withoutRates(firstOf(t, fake, vip, other)), addrs); diff != "" {
			t.Errorf("%s (-kernel +fake):\n%s", s.text, diff)
		}
	}
	send(t, client, server, vip.Addr, 2)
	if counted(t, k, vip, 2); firstOf(t, k, vip).Inactive == 0 {
		t.Error("the connection is not counted")
	}
	copyCounters(t, k, fake, vip)
	for _, c := range []Client{k, fake} {
		if err := c.ZeroService(vip.ServiceKey); err != nil {
			t.Fatal(err)
		}
	}
	isSame(t, withoutRates(firstOf(t, k, vip)), withoutRates(firstOf(t, fake, vip)))
}

// counted waits until the kernel shows n packets: it adds up its counters every
// two seconds only (estimation_timer in ip_vs_est.c).
func counted(t *testing.T, k Client, s ipvs.Service, n uint64) {
	t.Helper()
	for end := time.Now().Add(time.Minute); firstOf(t, k, s).Stats.InPkts != n; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d packets were sent, counted are %+v", n, firstOf(t, k, s).Stats)
		}
	}
}

func withoutRates(d ipvs.DestinationInfo) ipvs.DestinationInfo {
	d.Stats.CPS, d.Stats.InPPS, d.Stats.OutPPS, d.Stats.InBPS, d.Stats.OutBPS = 0, 0, 0, 0, 0
	return d
}

// copyCounters has the fake's first destination count as the kernel's does.
func copyCounters(t *testing.T, k Client, fake *Kernel, services ...ipvs.Service) {
	t.Helper()
	for _, s := range services {
		ds, err := k.Destinations(s.ServiceKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			fake.CountDestination(s.ServiceKey, d.Addr, Load{d.Active, d.Inactive, d.Persistent, d.Stats})
		}
	}
}

// haveAddrs puts addresses on lo.
func haveAddrs(t *testing.T, addrs ...netip.Addr) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}}
		if err := netlink.AddrAdd(lo, addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := netlink.AddrDel(lo, addr); err != nil {
				t.Error(err)
			}
		})
	}
}

// listen opens a UDP socket; the zero address means any.
func listen(t *testing.T, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// send sends n datagrams to the virtual service, from one client, and waits
// for each at the server.
func send(t *testing.T, client, server *net.UDPConn, vip netip.AddrPort, n int) {
	t.Helper()
	buf := make([]byte, 64)
	for range n {
		if _, err := client.WriteToUDPAddrPort([]byte("hello"), vip); err != nil {
			t.Fatal(err)
		}
		if err := server.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := server.ReadFromUDPAddrPort(buf); err != nil {
			t.Fatal(err)
		}
	}
}
