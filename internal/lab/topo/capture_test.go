package topo_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
)

// The first packet after Capture is there, in order, with its direction and
// with the addresses of this hop.
func TestKernelCapture(t *testing.T) {
	n := topotest.New(t, topo.Spec{Router: true})
	prepare(t, n, topo.DR)
	rs := n.Servers[0]
	serve(t, rs, "tcp", 7)
	from, to := netip.MustParseAddrPort("172.16.9.9:4000"), netip.AddrPortFrom(rs.Addr4, 7)
	atServer, atSwitch := topotest.Capture(t, rs, "eth0"), topotest.Capture(t, n.Switch, "rs1")
	start := time.Now()
	ask(t, n.Client, "tcp", from, to, rs)
	if _, err := atServer.Wait(t.Context(), func(p topo.Packet) bool { return p.Detail == "RA" }); err != nil {
		t.Fatal(err)
	}

	type hop struct {
		out              bool
		srcMAC, dstMAC   topo.MAC
		src, dst, detail string
	}
	in, out := hop{false, n.Router.MAC, rs.MAC, from.String(), to.String(), ""}, hop{true, rs.MAC, n.Router.MAC, to.String(), from.String(), ""}
	with := func(h hop, detail string) hop { h.detail = detail; return h }
	want := []hop{with(in, "S"), with(out, "SA"), with(in, "A"), with(in, "PA"), with(out, "A"), with(out, "PA"), with(in, "A"), with(in, "RA")}
	var got []hop
	for _, p := range tcpPackets(t, atServer) {
		got = append(got, hop{p.Out, p.SrcMAC, p.DstMAC, p.Src.String(), p.Dst.String(), p.Detail})
		if p.Time.Before(start.Add(-time.Second)) || p.Time.After(time.Now().Add(time.Second)) || p.TTL != 64 && p.TTL != 63 {
			t.Errorf("time %s or ttl %d of %s", p.Time, p.TTL, p)
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(hop{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	other := tcpPackets(t, atSwitch)
	if len(other) != len(got) {
		t.Fatalf("the switch saw %d packets, the server %d", len(other), len(got))
	}
	for i := range other {
		if other[i].Out == got[i].out {
			t.Errorf("the switch has the direction of its own port: %s", other[i])
		}
	}
}

func tcpPackets(t *testing.T, c *topo.Capture) []topo.Packet {
	t.Helper()
	packets, err := c.Packets()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(packets, func(p topo.Packet) bool { return p.Proto != "tcp" })
}

// Wait sees what comes later, and does not keep others from looking.
func TestKernelCaptureWait(t *testing.T) {
	n := topotest.New(t, topo.Spec{})
	prepare(t, n, topo.NAT)
	serve(t, n.Servers[0], "udp", 7)
	c := topotest.Capture(t, n.Servers[0], "eth0")
	var waiters sync.WaitGroup
	for port := range uint16(3) {
		to := netip.AddrPortFrom(n.Servers[0].Addr4, 7)
		from := netip.AddrPortFrom(n.Client.Addr4, 4000+port)
		waiters.Go(func() {
			p, err := c.Wait(t.Context(), func(p topo.Packet) bool { return p.Out && p.Dst == from })
			if err != nil || p.Src != to {
				t.Errorf("%v, error %v", p, err)
			}
		})
		waiters.Go(func() {
			if _, err := c.Packets(); err != nil {
				t.Error(err)
			}
			if _, err := n.Client.Ask(t.Context(), "udp", from, to); err != nil {
				t.Error(err)
			}
		})
	}
	waiters.Wait()
}

func TestKernelCaptureWaitEnds(t *testing.T) {
	n := topotest.New(t, topo.Spec{})
	never := func(topo.Packet) bool { return false }
	c, err := n.Client.Capture("eth0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, never); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := c.Wait(ctx, never); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { c.Close() })
	if _, err := c.Wait(t.Context(), never); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("closed: %v", err)
	}
}

// A capture that lost packets says so, as nothing can be concluded from it.
func TestKernelCaptureOverflow(t *testing.T) {
	n := topotest.New(t, topo.Spec{})
	c, err := n.Client.Capture("lo")
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(n.Client.Addr4, 9)
	sink, err := n.Client.ListenPacket("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	conn, err := n.Client.Dial(t.Context(), "udp", netip.AddrPort{}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range topo.CaptureSlots + 1 {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Packets(); err == nil {
		t.Error("no error")
	}
	if _, err := c.Packets(); err == nil {
		t.Error("no error the second time")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Packets(); err == nil {
		t.Error("closed: no error")
	}
}
