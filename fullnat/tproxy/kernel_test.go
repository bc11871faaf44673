package tproxy_test

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/goipvs/goipvs/fullnat/tproxy"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// emptySpace puts the test into a network namespace of its own. It runs wherever
// the kernel has TPROXY and lets us; in the lab every kernel but user-mode Linux,
// which must say that it has none, has to.
func emptySpace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("makes a network namespace: needs root")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	switch err := tproxy.Check(ipvs.IPv4); {
	case lab.Kind() == "uml" && !errors.Is(err, tproxy.ErrNone):
		t.Fatalf("error %v, want %v", err, tproxy.ErrNone)
	case lab.Kind() == "uml", lab.Kind() == "" && err != nil:
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	if err := tproxy.Check(ipvs.IPv6); err != nil {
		t.Fatal(err)
	}
}

func addr(p ipvs.Protocol, a string) ipvs.ServiceKey {
	return ipvs.AddrService(p, netip.MustParseAddrPort(a))
}

// TestKernelPlaneManyRules: thousands of services make rules in one step, too.
func TestKernelPlaneManyRules(t *testing.T) {
	emptySpace(t)
	var want tproxy.Rules
	for i := range uint32(2500) {
		vip := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		every := ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip, 0))
		for _, k := range []ipvs.ServiceKey{ipvs.MarkService(i+1, ipvs.IPv4), ipvs.MarkService(i+1, ipvs.IPv6), every} {
			want.Diverts = append(want.Diverts, tproxy.Divert{Key: k, Protocol: ipvs.TCP, Port: uint16(10000 + i)})
		}
		want.Exact = append(want.Exact, ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip, 80)))
	}
	for _, changes := range []bool{true, false} {
		var p tproxy.Plane
		if changed, err := p.Apply(want); err != nil || changed != changes {
			t.Errorf("changed: %v, %v, want %v", changed, err, changes)
		}
	}
	if have, err := tproxy.Read(); err != nil || len(have) != len(want.Diverts) {
		t.Errorf("%d rules, %v, want %d", len(have), err, len(want.Diverts))
	}
}

// TestKernelPlaneRules: rules are made in one step, found again as they are, and
// made again when somebody took some of them away; none stay.
func TestKernelPlaneRules(t *testing.T) {
	emptySpace(t)
	want := tproxy.Rules{
		Diverts: []tproxy.Divert{
			{Key: ipvs.MarkService(7, ipvs.IPv4), Protocol: ipvs.TCP, Port: 40001},
			{Key: ipvs.MarkService(7, ipvs.IPv4), Protocol: ipvs.UDP, Port: 40002},
			{Key: ipvs.MarkService(7, ipvs.IPv6), Protocol: ipvs.TCP, Port: 40003},
			{Key: addr(ipvs.TCP, "192.0.2.10:0"), Protocol: ipvs.TCP, Port: 40004},
			{Key: addr(ipvs.UDP, "[2001:db8::10]:0"), Protocol: ipvs.UDP, Port: 40005},
		},
		Exact: []ipvs.ServiceKey{addr(ipvs.TCP, "192.0.2.10:443"), addr(ipvs.UDP, "[2001:db8::10]:53")},
	}
	var p tproxy.Plane
	apply := func(want tproxy.Rules, changes bool) {
		t.Helper()
		if differs, err := p.Differs(want); err != nil || differs != changes {
			t.Errorf("differs: %v, %v, want %v", differs, err, changes)
		}
		if changed, err := p.Apply(want); err != nil || changed != changes {
			t.Fatalf("changed: %v, %v, want %v", changed, err, changes)
		}
		have, err := tproxy.Read()
		if err != nil || len(have) != len(want.Diverts) {
			t.Errorf("read %v, %v", have, err)
		}
		for _, d := range want.Diverts {
			if !slices.Contains(have, d) {
				t.Errorf("%v is not among %v", d, have)
			}
		}
	}
	apply(want, true)
	apply(want, false)
	p = tproxy.Plane{} // the next process
	apply(want, false)

	v4 := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "goipvs-tproxy"}
	for name, spoil := range map[string]func(*nftables.Conn){
		"all rules are flushed": func(c *nftables.Conn) { c.FlushRuleset() },
		"a table goes":          func(c *nftables.Conn) { c.DelTable(v4) },
		"rules go":              func(c *nftables.Conn) { c.FlushTable(v4) },
		"a rule comes, with a comment that is none": func(c *nftables.Conn) {
			c.AddRule(&nftables.Rule{Table: v4, Chain: &nftables.Chain{Name: "prerouting", Table: v4}, UserData: []byte{0, 200, 'x'}})
		},
		"a map is emptied": func(c *nftables.Conn) { c.FlushSet(&nftables.Set{Table: v4, Name: "addresses"}) },
	} {
		c, err := nftables.New() // no subtests: they have other threads, and so other namespaces
		if err != nil {
			t.Fatal(err)
		}
		spoil(c)
		if err := c.Flush(); err != nil {
			t.Fatal(name, err)
		}
		t.Log(name)
		apply(want, true)
	}
	want.Exact = want.Exact[:1]
	apply(want, true)
	apply(tproxy.Rules{Exact: want.Exact}, true)
	apply(tproxy.Rules{}, false)
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	if tables, err := c.ListTables(); err != nil || len(tables) > 0 {
		t.Errorf("%d tables are left, %v", len(tables), err)
	}
}
