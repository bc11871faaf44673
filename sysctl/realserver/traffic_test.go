package realserver_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl/realserver"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// silence is how long a client waits for an answer that will not come.
const silence = 400 * time.Millisecond

// askOnce connects to port 80 of the VIP: the server's name, or what went wrong.
func (f *farm) askOnce(t *testing.T, vip netip.Addr) string {
	t.Helper()
	patience := silence
	if f.patient.Load() {
		patience = topo.Patience
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := f.Client.Ask(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(vip, 80))
	switch {
	case err == nil:
		return a.Server
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "silence"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOPROTOOPT), errors.Is(err, syscall.EHOSTUNREACH):
		return "refusal"
	}
	return err.Error()
}

// TestKernelTraffic: a client is served exactly while the servers are set up.
func TestKernelTraffic(t *testing.T) {
	for _, c := range []struct {
		name string
		spec realserver.Spec
		dest ipvs.Destination
	}{
		{"dr", realserver.Spec{}, ipvs.Destination{Method: ipvs.DirectRoute}},
		{"ipip", realserver.Spec{Mode: realserver.TUN}, ipvs.Destination{Method: ipvs.Tunnel}},
		{"ipip, VIP on lo", realserver.Spec{Mode: realserver.TUN, Dev: "lo"}, ipvs.Destination{Method: ipvs.Tunnel}},
		{"gre", realserver.Spec{Mode: realserver.TUN, Tunnel: realserver.Tunnel{Kind: "gre"}},
			ipvs.Destination{Method: ipvs.Tunnel, Encap: ipvs.Encap{Type: ipvs.GRE}}},
		{"gue", realserver.Spec{Mode: realserver.TUN, Tunnel: realserver.Tunnel{Kind: "gue", Port: 6080}},
			ipvs.Destination{Method: ipvs.Tunnel, Encap: ipvs.Encap{Type: ipvs.GUE, Port: 6080}}},
		{"other version ipip", realserver.Spec{Mode: realserver.TUN}, ipvs.Destination{Method: ipvs.Tunnel}},
		{"other version gre", realserver.Spec{Mode: realserver.TUN, Tunnel: realserver.Tunnel{Kind: "gre"}},
			ipvs.Destination{Method: ipvs.Tunnel, Encap: ipvs.Encap{Type: ipvs.GRE}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t, topo.Spec{Servers: 2, IPv6: true})
			f.crossed = strings.HasPrefix(c.name, "other version")
			vips := []netip.Addr{f.VIP4, f.VIP6}
			if c.name == "other version ipip" { // see TestKernelRefused for the other one
				vips = vips[1:]
			}
			f.serve(t, c.dest, vips...)
			var before []map[string]string
			for _, s := range f.Servers {
				// As Red Hat ships it: strict filtering drops what comes out of tunnels.
				for _, dev := range []string{"all", "default", "eth0"} {
					if err := s.Sysctl("net.ipv4.conf."+dev+".rp_filter", "1"); err != nil {
						t.Fatal(err)
					}
				}
				before = append(before, hostState(t, s))
			}
			unserved := func(when string) {
				t.Helper()
				f.patient.Store(false)
				for _, a := range vips {
					if got := f.askOnce(t, a); got != "silence" && got != "refusal" {
						t.Errorf("%s, %s: %s", when, a, got)
					}
				}
			}
			unserved("before add")
			for _, s := range f.Servers {
				for _, a := range vips {
					if f.crossed {
						c.spec.Outer = map[bool]int{true: 6, false: 4}[a.Is4()]
					}
					f.add(t, s, c.spec, a)
				}
			}
			f.patient.Store(true)
			for _, a := range vips {
				if got := f.ask(t, a); got != "rs1 rs2" {
					t.Errorf("after add, %s: %s", a, got)
				}
			}
			for i, s := range f.Servers {
				f.del(t, s, vips...)
				wantState(t, s, present(before[i], hostState(t, s)))
			}
			unserved("after del")
		})
	}
}

// present adds to a state the tunnel devices that came with a module, which
// stays: down, without addresses, and with the knobs new devices have.
func present(before, after map[string]string) map[string]string {
	for _, dev := range []string{"tunl0", "ip6tnl0", "sit0", "gre0", "gretap0", "erspan0", "ip6gre0"} {
		if _, was := before["flags "+dev]; was {
			continue
		}
		if _, is := after["flags "+dev]; !is {
			continue
		}
		before["flags "+dev] = "0 0"
		for _, name := range []string{"arp_ignore", "arp_announce", "rp_filter", "arp_notify", "forwarding", "accept_local"} {
			before[dev+" "+name] = before["default "+name]
		}
	}
	return before
}

// TestKernelSilence: while neighbours ask for the VIPs all the time, and VIPs
// come and go, no real server ever says that it has one. The same flood catches
// an address that is put on lo without us.
func TestKernelSilence(t *testing.T) {
	f := newFarm(t, topo.Spec{Servers: 2, IPv6: true})
	vips := []netip.Addr{f.VIP4, f.VIP6}
	ear := f.flood(t, vips...)
	for _, spec := range []realserver.Spec{{}, {Mode: realserver.TUN}} {
		for range 3 {
			for _, s := range f.Servers {
				ear.await(t, 5) // questions while it is not there
				f.add(t, s, spec, vips...)
				ear.await(t, 5)
				f.del(t, s, vips...)
			}
		}
	}
	ear.await(t, 20)
	if n := ear.servers.Load(); n != 0 {
		t.Errorf("real servers claimed a VIP %d times", n)
	}
	if ear.director.Load() == 0 {
		t.Error("not even the director answered: was anybody asked?")
	}
	do(t, f.Servers[0], func() error { _, err := vip.Add(f.VIP4, "lo"); return err })
	ear.await(t, 20)
	if ear.servers.Load() == 0 {
		t.Error("an address on lo without arp_ignore was not answered for: the flood proves nothing")
	}
}

// ear counts who claims VIPs under a flood of questions.
type ear struct {
	asked, servers, director atomic.Int64
}

// flood has the router ask for the VIPs without end and listens to the segment.
func (f *farm) flood(t *testing.T, vips ...netip.Addr) *ear {
	t.Helper()
	e := &ear{}
	stop := make(chan struct{})
	var workers sync.WaitGroup
	t.Cleanup(func() { close(stop); workers.Wait() })
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	work := func(h *topo.Host, f func() error) {
		ready := make(chan struct{})
		workers.Go(func() {
			if err := h.Do(func() error { close(ready); return f() }); err != nil {
				t.Error(err)
			}
		})
		<-ready
	}
	work(f.Router, func() error { return e.ask(f.Router, vips, stopped) })
	for _, s := range append(f.Servers, f.Router) {
		l := make(chan error, 1)
		work(s, func() error { return e.listen(f, vips, stopped, l) })
		if err := <-l; err != nil {
			t.Fatal(err)
		}
	}
	e.await(t, 5)
	return e
}

func (e *ear) ask(router *topo.Host, vips []netip.Addr, stopped func() bool) error {
	w, err := vip.OnWire("eth0")
	for err == nil && !stopped() {
		for _, a := range vips {
			// As a probe, which a kernel treats in another way, and as itself.
			for _, sender := range []netip.Addr{{}, own(router, a)} {
				if err = w.Ask(a, sender); err != nil {
					return err
				}
			}
		}
		e.asked.Add(1)
		time.Sleep(2 * time.Millisecond)
	}
	return err
}

func (e *ear) listen(f *farm, vips []netip.Addr, stopped func() bool, ready chan<- error) error {
	l, err := vip.Listen()
	ready <- err
	if err != nil {
		return err
	}
	defer l.Close()
	for !stopped() {
		m, ok, err := l.Next(time.Now().Add(50 * time.Millisecond))
		if err != nil {
			return err
		}
		if !ok || !m.Claims(vips[0]) && !m.Claims(vips[1]) {
			continue
		}
		switch topo.MAC(m.From) {
		case f.Director.MAC:
			e.director.Add(1)
		default:
			e.servers.Add(1)
		}
	}
	return nil
}

// await waits until so many more rounds of questions were asked.
func (e *ear) await(t *testing.T, rounds int64) {
	t.Helper()
	until := e.asked.Load() + rounds
	for deadline := time.Now().Add(10 * topo.Patience); e.asked.Load() < until; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody asks any more")
		}
	}
}
