package topo_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
)

// Real servers take packets for the VIP out of every tunnel they are prepared
// for and answer from the VIP, past the director. The test is the director: it
// sends what IPVS would.
func TestKernelServersTakeTunnels(t *testing.T) {
	n := topotest.New(t, topo.Spec{IPv6: true, Router: true})
	rs := n.Servers[0]
	serve(t, rs, "udp", 80)
	for _, m := range []topo.Method{topo.IPIP, topo.GRE, topo.GRESum, topo.GUE, topo.GRE} {
		t.Run(string(m), func(t *testing.T) {
			prepare(t, n, m)
			for _, vip := range []netip.Addr{n.VIP4, n.VIP6} {
				for _, rip := range []netip.Addr{rs.Addr4, rs.Addr6} {
					t.Run(vip.String()+" in "+rip.String(), func(t *testing.T) { sendThrough(t, n, m, vip, rip) })
				}
			}
		})
	}
}

func sendThrough(t *testing.T, n *topo.Net, m topo.Method, vip, rip netip.Addr) {
	from := n.Client.Addr4
	if vip.Is6() {
		from = n.Client.Addr6
	}
	client, err := n.Client.ListenPacket("udp", netip.AddrPortFrom(from, 4000))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	atServer := topotest.Capture(t, n.Servers[0], "eth0")

	inner := datagram(netip.AddrPortFrom(from, 4000), netip.AddrPortFrom(vip, 80), "name\n")
	payload, proto := inner, int(ipipProto(inner))
	switch m {
	case topo.GRE, topo.GRESum:
		payload, proto = gre(inner, m == topo.GRESum), unix.IPPROTO_GRE
	case topo.GUE:
		payload, proto = gue(inner), unix.IPPROTO_UDP
	}
	sendIP(t, n.Director, rip, proto, payload)

	buf := make([]byte, 100)
	if err := client.SetReadDeadline(time.Now().Add(topo.Patience)); err != nil {
		t.Fatal(err)
	}
	length, peer, err := client.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	got, err := topo.ParseAnswer(string(buf[:length]))
	want := topo.Answer{Server: "rs1", Local: netip.AddrPortFrom(vip, 80), Remote: netip.AddrPortFrom(from, 4000)}
	if diff := cmp.Diff(want, got, compareAddrs); err != nil || diff != "" {
		t.Errorf("error %v, -want +got\n%s", err, diff)
	}
	if peer.String() != want.Local.String() {
		t.Errorf("the answer came from %s", peer)
	}
	wantTunnel(t, atServer, m, want)
}

// wantTunnel looks at both directions at the server: in through the tunnel, out
// without one and to the router.
func wantTunnel(t *testing.T, c *topo.Capture, m topo.Method, a topo.Answer) {
	t.Helper()
	kind := map[topo.Method]string{topo.IPIP: "ipip", topo.GRE: "gre", topo.GRESum: "gre", topo.GUE: "gue"}[m]
	_, err := c.Wait(t.Context(), func(p topo.Packet) bool {
		return !p.Out && p.Proto == "udp" && p.Outer != nil && p.Outer.Kind == kind &&
			(p.Outer.Checksum || m != topo.GRESum) && p.Src == a.Remote && p.Dst == a.Local
	})
	if err != nil {
		t.Errorf("in: %v", err)
	}
	_, err = c.Wait(t.Context(), func(p topo.Packet) bool {
		return p.Out && p.Proto == "udp" && p.Outer == nil && p.Src == a.Local && p.Dst == a.Remote
	})
	if err != nil {
		t.Errorf("out: %v", err)
	}
}

// sendIP sends one packet of an IP protocol, to the GUE port if it is UDP.
func sendIP(t *testing.T, h *topo.Host, to netip.Addr, proto int, payload []byte) {
	t.Helper()
	kind, sa, family := unix.SOCK_RAW, unix.Sockaddr(&unix.SockaddrInet6{Addr: to.As16(), Port: topo.GUEPort}), unix.AF_INET6
	if proto == unix.IPPROTO_UDP {
		kind = unix.SOCK_DGRAM
	}
	if to.Is4() {
		sa, family = &unix.SockaddrInet4{Addr: to.As4(), Port: topo.GUEPort}, unix.AF_INET
	} else if kind == unix.SOCK_RAW {
		sa.(*unix.SockaddrInet6).Port = 0 // means a protocol there
	}
	err := h.Do(func() error {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, payload, 0, sa)
	})
	if err != nil {
		t.Fatalf("send protocol %d to %s: %v", proto, to, err)
	}
}

// Servers that hold the VIP for direct routing stay silent: the router must
// learn the director's MAC address and no other.
func TestKernelOnlyDirectorAnswersForVIP(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 3, IPv6: true, Router: true})
	prepare(t, n, topo.DR)
	serve(t, n.Director, "udp", 7)
	atRouter := topotest.Capture(t, n.Router, "eth0")
	for _, vip := range []netip.Addr{n.VIP4, n.VIP6} {
		a, err := n.Client.Ask(t.Context(), "udp", netip.AddrPort{}, netip.AddrPortFrom(vip, 7))
		if err != nil || a.Server != "director" {
			t.Errorf("%s: answer %v, error %v", vip, a, err)
		}
	}
	packets, err := atRouter.Packets()
	if err != nil {
		t.Fatal(err)
	}
	var answers []topo.MAC
	for _, p := range packets {
		advertised := p.Proto == "icmp6" && p.Detail == "136/0" && len(p.Payload) >= 16 && [16]byte(p.Payload) == n.VIP6.As16()
		if advertised || p.Proto == "arp" && p.Detail == "is-at" && p.Src.Addr() == n.VIP4 {
			answers = append(answers, p.SrcMAC)
		}
	}
	want := []topo.MAC{n.Director.MAC, n.Director.MAC}
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Errorf("who answered for the VIPs: -want +got\n%s", diff)
	}
}

func TestKernelPrepareNeedsRouter(t *testing.T) {
	n := topotest.New(t, topo.Spec{})
	if err := n.Prepare(topo.DR); err == nil {
		t.Error("direct routing without a router: no error")
	}
	if err := n.Prepare("teleport"); err == nil {
		t.Error("unknown method: no error")
	}
}

func TestKernelMark(t *testing.T) {
	for _, spec := range shapes {
		t.Run(shapeName(spec), func(t *testing.T) { testMark(t, topotest.New(t, spec)) })
	}
}

func testMark(t *testing.T, n *topo.Net) {
	marks := []struct {
		proto string
		to    netip.AddrPort
		mark  uint32
	}{
		{"udp", netip.AddrPortFrom(n.VIP4, 80), 7},
		{"udp", netip.AddrPortFrom(n.VIP4, 81), 0xffffffff},
		{"", netip.AddrPortFrom(n.VIP6, 0), 9},
		{"tcp", netip.AddrPortFrom(n.VIP4, 82), 11},
	}
	for _, m := range marks {
		if err := n.Director.Mark(m.proto, m.to, m.mark); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]uint32{}
	want := map[string]uint32{"192.0.2.10:80": 7, "192.0.2.10:81": 0xffffffff, "[2001:db8:ffff::10]:82": 9, "192.0.2.10:82": 0}
	for to := range want {
		got[to] = markSeen(t, n, netip.MustParseAddrPort(to))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("marks: -want +got\n%s", diff)
	}
}

// markSeen sends a datagram to the director and tells with which mark it came.
func markSeen(t *testing.T, n *topo.Net, to netip.AddrPort) uint32 {
	t.Helper()
	l, err := n.Director.ListenPacket("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn := l.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVMARK, 1) })
	if err := errors.Join(cerr, err); err != nil {
		t.Fatal("set SO_RCVMARK:", err)
	}
	c, err := n.Client.Dial(t.Context(), "udp", netip.AddrPort{}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, 100)
	if err := conn.SetReadDeadline(time.Now().Add(topo.Patience)); err != nil {
		t.Fatal(err)
	}
	_, oobn, _, _, err := conn.ReadMsgUDPAddrPort(make([]byte, 1), oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 || len(messages[0].Data) < 4 {
		t.Fatalf("control messages %v, error %v", messages, err)
	}
	d := messages[0].Data
	return uint32(d[0]) | uint32(d[1])<<8 | uint32(d[2])<<16 | uint32(d[3])<<24
}

func TestSpecLimits(t *testing.T) {
	for _, s := range []topo.Spec{{Clients: 17}, {Servers: 201}} {
		if _, err := topo.New(s); err == nil {
			t.Errorf("New(%+v): no error", s)
		}
	}
}
