package realserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/internal/dump"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl/realserver"
)

func TestMain(m *testing.M) {
	if words, ok := os.LookupEnv("REALSERVER_TEST_CHILD"); ok {
		os.Exit(child(strings.Fields(words)))
	}
	os.Exit(m.Run())
}

// farm is a network whose servers know the way back to the clients and nothing
// of VIPs.
type farm struct {
	patient atomic.Bool // clients wait long for an answer
	crossed bool        // IPv4 travels in IPv6, and IPv6 in IPv4
	*topo.Net
	dir string
}

func newFarm(t *testing.T, spec topo.Spec) *farm {
	t.Helper()
	spec.Router = true
	f := &farm{Net: topotest.New(t, spec), dir: t.TempDir()}
	for _, s := range f.Servers {
		do(t, s, func() error { return home(f.Router) })
	}
	return f
}

// home is the way back to the clients.
func home(router *topo.Host) error {
	err := netlink.RouteReplace(&netlink.Route{Gw: router.Addr4.AsSlice()})
	if err == nil && router.Addr6.IsValid() {
		err = netlink.RouteReplace(&netlink.Route{Gw: router.Addr6.AsSlice()})
	}
	return err
}

func do(t *testing.T, h *topo.Host, f func() error) {
	t.Helper()
	if err := h.Do(f); err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
}

// host is the real server; the record is its own by the namespace.
func (f *farm) host() realserver.Host { return realserver.Host{Dir: f.dir} }

func (f *farm) add(t *testing.T, s *topo.Host, spec realserver.Spec, vips ...netip.Addr) (r realserver.Report) {
	t.Helper()
	do(t, s, func() (err error) { r, err = f.host().Add(spec, vips...); return err })
	return r
}

func (f *farm) del(t *testing.T, s *topo.Host, vips ...netip.Addr) (r realserver.Report) {
	t.Helper()
	do(t, s, func() (err error) { r, err = f.host().Delete(vips...); return err })
	return r
}

// serve makes the director forward port 80 of the VIPs to all servers.
func (f *farm) serve(t *testing.T, d ipvs.Destination, vips ...netip.Addr) {
	t.Helper()
	var c *ipvs.Client
	do(t, f.Director, func() (err error) { c, err = ipvs.Dial(ipvs.Options{}); return err })
	t.Cleanup(func() { c.Close() })
	var want ipvs.Table
	for _, vip := range vips {
		e := ipvs.Entry{Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(vip, 80)), Scheduler: "rr"}}
		for _, s := range f.Servers {
			d.Addr, d.Weight = netip.AddrPortFrom(own(s, vip), 80), 1
			if f.crossed {
				d.Addr = netip.AddrPortFrom(map[bool]netip.Addr{true: s.Addr6, false: s.Addr4}[vip.Is4()], 80)
			}
			e.Destinations = append(e.Destinations, d)
		}
		want = append(want, e)
	}
	if _, err := ipvs.Reconcile(c, want, ipvs.ReconcileOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Servers {
		if _, err := s.Serve("tcp", 80); err != nil {
			t.Fatal(err)
		}
	}
}

func own(s *topo.Host, vip netip.Addr) netip.Addr {
	if vip.Is4() {
		return s.Addr4
	}
	return s.Addr6
}

// ask connects as often as there are servers and tells who answered.
func (f *farm) ask(t *testing.T, vip netip.Addr) string {
	t.Helper()
	got := map[string]bool{}
	for range f.Servers {
		got[f.askOnce(t, vip)] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(got)), " ")
}

// state is all that Delete must leave as it was: knobs, devices that were there,
// addresses, open GUE ports.
func hostState(t *testing.T, s *topo.Host) map[string]string {
	t.Helper()
	all := map[string]string{}
	do(t, s, func() error {
		links, err := dump.Whole(netlink.LinkList)
		if err != nil {
			return err
		}
		devs := []string{"all", "default"}
		for _, l := range links {
			devs = append(devs, l.Attrs().Name)
			all["flags "+l.Attrs().Name] = fmt.Sprint(l.Attrs().Flags&1, l.Attrs().Promisc)
			addrs, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
			if err != nil {
				return err
			}
			for _, a := range addrs {
				all["address "+l.Attrs().Name+" "+a.IPNet.String()] = fmt.Sprint(a.Scope, a.Broadcast)
			}
		}
		for _, dev := range devs {
			for _, name := range []string{"arp_ignore", "arp_announce", "rp_filter", "arp_notify", "forwarding", "accept_local"} {
				b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + dev + "/" + name)
				if err != nil {
					return err
				}
				all[dev+" "+name] = strings.TrimSpace(string(b))
			}
		}
		return nil
	})
	return all
}

func wantState(t *testing.T, s *topo.Host, before map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, hostState(t, s)); diff != "" {
		t.Errorf("%s is not as it was found (-found +left):\n%s", s.Name, diff)
	}
}

func texts(r realserver.Report) (lines []string) {
	for _, a := range r.Actions {
		lines = append(lines, a.String())
	}
	return lines
}

func wantTexts(t *testing.T, r realserver.Report, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, texts(r)); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
}

func TestKernelAddAndDelete(t *testing.T) {
	f := newFarm(t, topo.Spec{IPv6: true})
	s := f.Servers[0]
	before := hostState(t, s)
	wantTexts(t, f.add(t, s, realserver.Spec{}, f.VIP4, f.VIP6),
		"set net.ipv4.conf.all.arp_ignore=1 (was 0)",
		"set net.ipv4.conf.lo.arp_ignore=1 (was 0)",
		"set net.ipv4.conf.all.arp_announce=2 (was 0)",
		"set net.ipv4.conf.lo.arp_announce=2 (was 0)",
		"add 192.0.2.10/32 to lo",
		"add 2001:db8:ffff::10/128 to lo",
	)
	added := hostState(t, s)
	wantTexts(t, f.add(t, s, realserver.Spec{}, f.VIP4, f.VIP6)) // idempotent
	second := netip.MustParseAddr("192.0.2.11")
	wantTexts(t, f.add(t, s, realserver.Spec{}, second), "add 192.0.2.11/32 to lo")
	wantTexts(t, f.del(t, s, f.VIP4), "delete 192.0.2.10/32 from lo") // the other one still needs the knobs
	wantTexts(t, f.add(t, s, realserver.Spec{}, f.VIP4), "add 192.0.2.10/32 to lo")
	f.del(t, s, second)
	wantState(t, s, added)
	wantTexts(t, f.del(t, s, f.VIP6, f.VIP4), // in the order they came
		"delete 2001:db8:ffff::10/128 from lo",
		"delete 192.0.2.10/32 from lo",
		"restore net.ipv4.conf.lo.arp_announce=0 (was 2)",
		"restore net.ipv4.conf.all.arp_announce=0 (was 2)",
		"restore net.ipv4.conf.lo.arp_ignore=0 (was 1)",
		"restore net.ipv4.conf.all.arp_ignore=0 (was 1)",
	)
	wantState(t, s, before)
	wantTexts(t, f.del(t, s, f.VIP4))
}

// TestKernelDryRun: the same words, and nothing is done.
func TestKernelDryRun(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	before := hostState(t, s)
	h := f.host()
	h.DryRun, h.Dir = true, f.dir+"/never"
	spec := realserver.Spec{Mode: realserver.TUN}
	var would realserver.Report
	do(t, s, func() (err error) { would, err = h.Add(spec, f.VIP4); return err })
	wantState(t, s, before)
	if _, err := os.Stat(h.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a record was made: %v", err)
	}
	wantTexts(t, f.add(t, s, spec, f.VIP4), texts(would)...)
}

// TestKernelOthersChanged: what somebody else changed since is left alone.
func TestKernelOthersChanged(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	f.add(t, s, realserver.Spec{}, f.VIP4)
	for k, v := range map[string]string{"all.arp_ignore": "2", "all.arp_announce": "1"} {
		if err := s.Sysctl("net.ipv4.conf."+k, v); err != nil {
			t.Fatal(err)
		}
	}
	// 2 is as good as 1; announce must be 2, and 1 is what it will be put back to.
	wantTexts(t, f.add(t, s, realserver.Spec{}, f.VIP4), "set net.ipv4.conf.all.arp_announce=2 (was 1)")
	if err := s.Sysctl("net.ipv4.conf.lo.arp_ignore", "2"); err != nil {
		t.Fatal(err)
	}
	wantTexts(t, f.del(t, s, f.VIP4),
		"delete 192.0.2.10/32 from lo",
		"restore net.ipv4.conf.lo.arp_announce=0 (was 2)",
		"restore net.ipv4.conf.all.arp_announce=1 (was 2)",
		"keep net.ipv4.conf.lo.arp_ignore at 2: somebody changed it since it was set to 1",
	)
}

// TestKernelFoundAddress: an address that was there before is there after.
func TestKernelFoundAddress(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	if err := s.AddAddr("lo", netip.PrefixFrom(f.VIP4, 32)); err != nil {
		t.Fatal(err)
	}
	before := hostState(t, s)
	f.add(t, s, realserver.Spec{}, f.VIP4)
	r := f.del(t, s, f.VIP4)
	if !slices.Contains(texts(r), "keep 192.0.2.10/32 on lo: it was there before") {
		t.Errorf("%q", texts(r))
	}
	wantState(t, s, before)
}

// TestKernelWorseInterface: a value of an interface can overrule a good one of all.
func TestKernelWorseInterface(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	if err := s.Sysctl("net.ipv4.conf.eth0.arp_ignore", "3"); err != nil {
		t.Fatal(err)
	}
	before := hostState(t, s)
	other := netip.MustParseAddr("192.0.2.11")
	f.add(t, s, realserver.Spec{}, f.VIP4)
	f.add(t, s, realserver.Spec{}, other)
	f.del(t, s, f.VIP4)
	if v, err := s.ReadSysctl("net.ipv4.conf.eth0.arp_ignore"); err != nil || v != "1" {
		t.Errorf("while one VIP needs it: %s, %v", v, err)
	}
	f.del(t, s, other)
	wantState(t, s, before)
}

// TestKernelReboot: a record of an earlier boot is void, as are the changes.
func TestKernelReboot(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	f.add(t, s, realserver.Spec{}, f.VIP4)
	files, err := filepath.Glob(f.dir + "/*.json")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	old, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	f.del(t, s, f.VIP4)
	// The host comes back with other settings, and the record, where /run survived.
	old = bytes.ReplaceAll(old, bytes.TrimSpace(boot), []byte("00000000-0000-0000-0000-000000000000"))
	if err := os.WriteFile(files[0], old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Sysctl("net.ipv4.conf.all.arp_announce", "1"); err != nil {
		t.Fatal(err)
	}
	before := hostState(t, s)
	wantTexts(t, f.del(t, s, f.VIP4))
	wantState(t, s, before)
	f.add(t, s, realserver.Spec{}, f.VIP4)
	f.del(t, s, f.VIP4)
	wantState(t, s, before)
}

// TestKernelAdvice: the MSS that fits into a tunnel, until the route has it.
func TestKernelAdvice(t *testing.T) {
	f := newFarm(t, topo.Spec{IPv6: true})
	s := f.Servers[0]
	for _, c := range []struct {
		tunnel realserver.Tunnel
		vip    netip.Addr
		outer  int
		want   string
	}{
		{realserver.Tunnel{Kind: "ipip"}, f.VIP4, 0, "ip route change default via 10.9.0.1 dev eth0 advmss 1440"},
		{realserver.Tunnel{Kind: "gre"}, f.VIP4, 0, "advmss 1436"},
		{realserver.Tunnel{Kind: "gue", Port: 6080}, f.VIP4, 0, "advmss 1428"},
		{realserver.Tunnel{Kind: "ipip"}, f.VIP6, 0, "ip -6 route change default via fd09::1 dev eth0 advmss 1400"},
		{realserver.Tunnel{Kind: "gue", Port: 6080}, f.VIP6, 4, "advmss 1408"},
		{realserver.Tunnel{Kind: "gre"}, f.VIP4, 6, "advmss 1416"},
	} {
		spec := realserver.Spec{Mode: realserver.TUN, Tunnel: c.tunnel, Outer: c.outer}
		got := f.add(t, s, spec, c.vip).Advice
		if len(got) != 1 || !strings.HasSuffix(got[0], c.want) {
			t.Errorf("%+v %s: %q, want %s", spec, c.vip, got, c.want)
		}
		f.del(t, s, c.vip)
	}
	do(t, s, func() error { return netlink.RouteReplace(&netlink.Route{Gw: f.Router.Addr4.AsSlice(), AdvMSS: 1440}) })
	if got := f.add(t, s, realserver.Spec{Mode: realserver.TUN}, f.VIP4).Advice; got != nil {
		t.Errorf("the route has it: %q", got)
	}
}
