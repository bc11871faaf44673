package vip_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/sysctl/vip"
)

var (
	four  = netip.MustParseAddr("192.0.2.77")
	six   = netip.MustParseAddr("2001:db8:ffff::77")
	addrs = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
)

// on runs f in the host's namespace and fails the test on its error.
func on(t *testing.T, h *topo.Host, f func() error) {
	t.Helper()
	if err := h.Do(f); err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
}

func TestKernelAddAndDelete(t *testing.T) {
	n := topotest.New(t, topo.Spec{IPv6: true, Router: true})
	on(t, n.Servers[0], func() error {
		for _, a := range []netip.Addr{four, six} {
			for i, dev := range []string{"lo", "eth0"} {
				c, err := vip.Add(a, dev)
				if err != nil || !c.Added {
					t.Errorf("%+v, %v", c, err)
				}
				want := []vip.Place{{Dev: dev, Prefix: netip.PrefixFrom(a, a.BitLen()), Asked: i == 1}}
				if got, err := vip.Find(a); err != nil || !cmp.Equal(want, got, addrs) {
					t.Errorf("after adding: %+v, %v", got, err)
				}
				if again, err := vip.Add(a, dev); err != nil || !again.None() {
					t.Errorf("again: %+v, %v", again, err)
				}
				if err := errors.Join(vip.Undo(c), vip.Undo(c)); err != nil {
					t.Error(err)
				}
				if got, err := vip.Find(a); err != nil || got != nil {
					t.Errorf("after undoing: %+v, %v", got, err)
				}
			}
			if _, err := vip.Add(a, "eth7"); !errors.Is(err, syscall.ENODEV) {
				t.Errorf("no such interface: %v", err)
			}
			if c, err := vip.Delete(a, "eth7"); err != nil || !c.None() {
				t.Errorf("delete from no interface: %+v, %v", c, err)
			}
		}
		return nil
	})
}

// TestKernelAnnounce: the router's packets go to whoever announced last.
func TestKernelAnnounce(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 2, IPv6: true, Router: true})
	for _, a := range []netip.Addr{four, six} {
		if err := n.AddVIP(a); err != nil { // on the director, and the router's way there
			t.Fatal(err)
		}
		serve := func(h *topo.Host) {
			if _, err := h.Serve("udp", 7, a); err != nil {
				t.Fatal(err)
			}
		}
		ask := func() string {
			got, err := n.Client.Ask(t.Context(), "udp", netip.AddrPort{}, netip.AddrPortFrom(a, 7))
			if err != nil {
				return err.Error()
			}
			return got.Server
		}
		serve(n.Director)
		if got := ask(); got != "director" {
			t.Fatalf("%s: before: %s", a, got)
		}
		on(t, n.Servers[1], func() error {
			if _, err := vip.Add(a, "eth0"); err != nil {
				return err
			}
			w, err := vip.OnWire("eth0")
			if err != nil {
				return err
			}
			return w.Announce(a, false)
		})
		serve(n.Servers[1])
		if err := n.Prepare(topo.DR, n.Servers[1]); err != nil { // its way back
			t.Fatal(err)
		}
		if got := ask(); got != "rs2" {
			t.Errorf("%s: after rs2 announced it: %s", a, got)
		}
	}
}

// TestKernelAsk: an address is answered for by those who have it on the wire.
func TestKernelAsk(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 2, IPv6: true, Router: true})
	for _, a := range []netip.Addr{n.VIP4, n.VIP6} {
		on(t, n.Servers[0], func() error {
			l, err := vip.Listen()
			if err != nil {
				return err
			}
			defer l.Close()
			w, err := vip.OnWire("eth0")
			if err != nil {
				return err
			}
			// More than once: an address that was just made may not hear yet.
			ask := func() error { return w.Ask(a, netip.Addr{}) }
			if h := claim(t, l, a, false, ask); topo.MAC(h.From) != n.Director.MAC || h.Index != w.Index {
				t.Errorf("%s is claimed by %+v, want the director", a, h)
			}
			return nil
		})
	}
}

// TestKernelProvoke: a host is made to show whether it answers.
func TestKernelProvoke(t *testing.T) {
	n := topotest.New(t, topo.Spec{IPv6: true, Router: true})
	for _, a := range []netip.Addr{four, six} {
		on(t, n.Servers[0], func() error {
			l, err := vip.Listen()
			if err != nil {
				return err
			}
			defer l.Close()
			w, err := vip.OnWire("eth0")
			if err != nil {
				return err
			}
			if _, err := vip.Add(a, "eth0"); err != nil {
				return err
			}
			if h := claim(t, l, a, true, func() error { return w.Provoke(a) }); h.From != w.MAC {
				t.Errorf("%s is claimed by %+v, want this host", a, h)
			}
			return nil
		})
	}
}

// claim waits for a message that claims the address, and asks meanwhile.
func claim(t *testing.T, l *vip.Listener, a netip.Addr, out bool, ask func() error) vip.Heard {
	t.Helper()
	for end := time.Now().Add(4 * topo.Patience); time.Now().Before(end); {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		for until := time.Now().Add(200 * time.Millisecond); ; {
			h, ok, err := l.Next(until)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if h.Out == out && h.Claims(a) {
				return h
			}
		}
	}
	t.Fatalf("nothing claims %s", a)
	return vip.Heard{}
}

// TestKernelHolder: what a holder gave it takes back, and nothing else.
func TestKernelHolder(t *testing.T) {
	n := topotest.New(t, topo.Spec{IPv6: true, Router: true})
	h := vip.Holder{Dir: t.TempDir(), Announcements: 1}
	has := func(a netip.Addr, want bool) {
		t.Helper()
		if places, err := vip.Find(a); err != nil || (len(places) > 0) != want {
			t.Errorf("%s is on %v, %v; want %v", a, places, err, want)
		}
	}
	on(t, n.Servers[0], func() error {
		for _, a := range []netip.Addr{four, six} {
			if _, err := vip.Add(a, "eth0"); err != nil {
				return err
			}
			// It was there before, and stays. Then somebody takes it away, so that
			// the next one is ours.
			_, err := h.Add("eth0", a)
			_, err1 := h.Delete("eth0", a)
			has(a, true)
			_, err2 := h.Add("eth0", a)
			_, err3 := vip.Delete(a, "eth0")
			c, err4 := h.Add("eth0", a)
			if len(c) != 1 || !c[0].Added {
				t.Errorf("added again: %+v", c)
			}
			_, err5 := h.Delete("eth0", a)
			has(a, false)
			if err := errors.Join(err, err1, err2, err3, err4, err5); err != nil {
				return err
			}
		}
		// All or none: the director has the second one.
		if _, err := h.Add("eth0", four, n.VIP4); !errors.Is(err, vip.ErrTaken) {
			t.Errorf("an address in use: %v", err)
		}
		has(four, false)
		if _, err := h.Add("lo", four); err != nil { // as for a route by BGP: nobody to ask or tell
			t.Error(err)
		}
		if _, err := h.Add("eth0", four); !errors.Is(err, vip.ErrElsewhere) {
			t.Errorf("an address of lo: %v", err)
		}
		_, err := h.Delete("lo", four)
		has(four, false)
		return err
	})
}
