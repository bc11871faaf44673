package realserver_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl/realserver"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// TestKernelWatch: what is changed behind its back is put right at once, until
// the VIP is deleted.
func TestKernelWatch(t *testing.T) {
	f := newFarm(t, topo.Spec{IPv6: true})
	s := f.Servers[0]
	f.add(t, s, realserver.Spec{Mode: realserver.TUN}, f.VIP4)
	f.del(t, s, f.VIP4)
	before := hostState(t, s)
	f.add(t, s, realserver.Spec{Mode: realserver.TUN}, f.VIP4)
	f.add(t, s, realserver.Spec{}, f.VIP6)
	reports, end := f.watch(t, s, f.VIP4, f.VIP6)
	link := func(set func(netlink.Link) error, dev string) func() error {
		return func() error {
			l, err := netlink.LinkByName(dev)
			if err != nil {
				return err
			}
			return set(l)
		}
	}
	for _, c := range []struct {
		change func() error
		mends  string
	}{
		{func() error { return s.Sysctl("net.ipv4.conf.all.arp_ignore", "0") }, "set net.ipv4.conf.all.arp_ignore=1 (was 0)"},
		{func() error { return s.Sysctl("net.ipv4.conf.eth0.arp_ignore", "4") }, "set net.ipv4.conf.eth0.arp_ignore=1 (was 4)"},
		{func() error { return s.Sysctl("net.ipv4.conf.all.arp_ignore", "0") }, "set net.ipv4.conf.all.arp_ignore=1 (was 0)"},
		{func() error { return s.Sysctl("net.ipv4.conf.all.arp_announce", "1") }, "set net.ipv4.conf.all.arp_announce=2 (was 1)"},
		{func() error { _, err := vip.Delete(f.VIP4, "tunl0"); return err }, "add 192.0.2.10/32 to tunl0"},
		{func() error { _, err := vip.Delete(f.VIP6, "lo"); return err }, "add 2001:db8:ffff::10/128 to lo"},
		{link(netlink.LinkSetDown, "tunl0"), "up tunl0"},
		{func() error { return s.Sysctl("net.ipv4.conf.tunl0.rp_filter", "1") }, "set net.ipv4.conf.tunl0.rp_filter=2 (was 1)"},
	} {
		do(t, s, c.change)
		deadline := time.After(12 * topo.Patience)
		for mended := false; !mended; {
			select {
			case r := <-reports:
				mended = slices.Contains(texts(r), c.mends)
			case err := <-end:
				t.Fatalf("watch ended: %v", err)
			case <-deadline:
				t.Fatalf("nobody mends: %s", c.mends)
			}
		}
	}
	f.del(t, s, f.VIP6)
	select {
	case err := <-end:
		t.Fatalf("watch ended with a VIP left: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	f.del(t, s, f.VIP4)
	select {
	case err := <-end:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * topo.Patience):
		t.Error("watch goes on without a VIP")
	}
	before["eth0 arp_ignore"], before["all arp_announce"], before["tunl0 rp_filter"] = "4", "1", "1" // the last values of others
	wantState(t, s, before)
}

func (f *farm) watch(t *testing.T, s *topo.Host, vips ...netip.Addr) (<-chan realserver.Report, <-chan error) {
	t.Helper()
	reports, end, ready := make(chan realserver.Report, 100), make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		end <- s.Do(func() error {
			return f.host().OnEvents().Watch(ctx, func() { close(ready) }, func(r realserver.Report, err error) {
				if err != nil {
					t.Error(err)
				}
				reports <- r
			}, vips...)
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	<-ready
	return reports, end
}

// TestKernelWatchEnds: the end of the context leaves everything in place.
func TestKernelWatchEnds(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	f.add(t, s, realserver.Spec{}, f.VIP4)
	before := hostState(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Do(func() error { return f.host().Watch(ctx, cancel, func(realserver.Report, error) {}, f.VIP4) })
	if err != nil {
		t.Error(err)
	}
	wantState(t, s, before)
}
