package topo_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

var (
	client4 = netip.MustParseAddrPort("172.16.0.1:4000")
	vip4    = netip.MustParseAddrPort("192.0.2.10:80")
	client6 = netip.MustParseAddrPort("[2001:db8::1]:4000")
	vip6    = netip.MustParseAddrPort("[2001:db8:ffff::10]:80")
	dip4    = netip.MustParseAddr("10.9.0.2")
	rip4    = netip.MustParseAddr("10.9.0.11")
	dip6    = netip.MustParseAddr("fd09::2")
	rip6    = netip.MustParseAddr("fd09::b")
)

// frames are the packets the decoder is for, with the line it prints.
var frames = []struct {
	name  string
	frame []byte
	want  string
}{
	{"tcp over ipv4", ethernet(unix.ETH_P_IP, segment(client4, vip4, 0x02, "")),
		"tcp 172.16.0.1:4000 > 192.0.2.10:80 S, 0 bytes"},
	{"tcp over ipv6", ethernet(unix.ETH_P_IPV6, segment(vip6, client6, 0x18, "hello")),
		"tcp [2001:db8:ffff::10]:80 > [2001:db8::1]:4000 PA, 5 bytes"},
	{"padding is not payload", append(ethernet(unix.ETH_P_IP, datagram(client4, vip4, "x")), make([]byte, 17)...),
		"udp 172.16.0.1:4000 > 192.0.2.10:80 , 1 bytes"},
	{"ipv4 in ipv4", ethernet(unix.ETH_P_IP, ip(dip4, rip4, 4, segment(client4, vip4, 0x02, ""))),
		"ipip 10.9.0.2 > 10.9.0.11 tcp 172.16.0.1:4000 > 192.0.2.10:80 S, 0 bytes"},
	{"ipv6 in ipv4", ethernet(unix.ETH_P_IP, ip(dip4, rip4, 41, segment(client6, vip6, 0x02, ""))),
		"ipip 10.9.0.2 > 10.9.0.11 tcp [2001:db8::1]:4000 > [2001:db8:ffff::10]:80 S, 0 bytes"},
	{"ipv4 in ipv6", ethernet(unix.ETH_P_IPV6, ip(dip6, rip6, 4, segment(client4, vip4, 0x02, ""))),
		"ipip fd09::2 > fd09::b tcp 172.16.0.1:4000 > 192.0.2.10:80 S, 0 bytes"},
	{"gre", ethernet(unix.ETH_P_IP, ip(dip4, rip4, 47, gre(datagram(client4, vip4, "hi"), false))),
		"gre 10.9.0.2 > 10.9.0.11 udp 172.16.0.1:4000 > 192.0.2.10:80 , 2 bytes"},
	{"gre with checksum", ethernet(unix.ETH_P_IPV6, ip(dip6, rip6, 47, gre(datagram(client6, vip6, "hi"), true))),
		"gre fd09::2 > fd09::b sum udp [2001:db8::1]:4000 > [2001:db8:ffff::10]:80 , 2 bytes"},
	{"gue", ethernet(unix.ETH_P_IP, datagram(netip.AddrPortFrom(dip4, 5000), netip.AddrPortFrom(rip4, topo.GUEPort),
		string(gue(segment(client4, vip4, 0x04, ""))))),
		"gue 10.9.0.2:5000 > 10.9.0.11:6080 sum tcp 172.16.0.1:4000 > 192.0.2.10:80 R, 0 bytes"},
	{"gue with remote checksum", ethernet(unix.ETH_P_IP, datagram(netip.AddrPortFrom(dip4, 5000), netip.AddrPortFrom(rip4, topo.GUEPort),
		string(append([]byte{2, unix.IPPROTO_IPIP, 0, 1, 0x80, 0, 0, 0, 0, 20, 0, 36}, segment(client4, vip4, 0x04, "")...)))),
		"gue 10.9.0.2:5000 > 10.9.0.11:6080 sum remsum tcp 172.16.0.1:4000 > 192.0.2.10:80 R, 0 bytes"},
	{"sctp", ethernet(unix.ETH_P_IP, ip(client4.Addr(), vip4.Addr(), unix.IPPROTO_SCTP,
		[]byte{0x0f, 0xa0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4})),
		"sctp 172.16.0.1:4000 > 192.0.2.10:80 INIT, 4 bytes"},
	{"icmp", ethernet(unix.ETH_P_IP, ip(vip4.Addr(), client4.Addr(), unix.IPPROTO_ICMP, []byte{3, 3, 0, 0, 0, 0, 0, 0, 1, 2})),
		"icmp 192.0.2.10 > 172.16.0.1 3/3, 2 bytes"},
	{"arp", ethernet(unix.ETH_P_ARP, []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 9, 0, 2, 0, 0, 0, 0, 0, 0, 10, 9, 0, 11}),
		"arp 10.9.0.2 > 10.9.0.11 who-has, 0 bytes"},
	{"later fragment has no ports", ethernet(unix.ETH_P_IP, fragment(datagram(client4, vip4, "0123456789"))),
		"udp 172.16.0.1 > 192.0.2.10 fragment, 18 bytes"},
	{"hop-by-hop options", ethernet(unix.ETH_P_IPV6, ip(client6.Addr(), vip6.Addr(), 0,
		append([]byte{unix.IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0}, segment(client6, vip6, 0x10, "")[40:]...))),
		"tcp [2001:db8::1]:4000 > [2001:db8:ffff::10]:80 A, 0 bytes"},
	{"tunnel in a tunnel", ethernet(unix.ETH_P_IP, ip(dip4, rip4, 4, ip(rip4, dip4, 4, segment(client4, vip4, 0x02, "")))),
		"ipip 10.9.0.2 > 10.9.0.11 4 10.9.0.11 > 10.9.0.2 , 40 bytes"},
	{"cut off", ethernet(unix.ETH_P_IP, segment(client4, vip4, 0x02, ""))[:14+20+10],
		" invalid IP > invalid IP , 0 bytes (packet too short)"},
}

// fragment makes a packet one that is not the first of its fragments.
func fragment(b []byte) []byte {
	binary.BigEndian.PutUint16(b[6:], 100)
	return b
}

func TestDecode(t *testing.T) {
	for _, f := range frames {
		t.Run(f.name, func(t *testing.T) {
			got := topo.Decode(f.frame).String()
			want := "in  02:00:00:00:00:01 > 02:00:00:00:00:02 " + f.want
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// Every frame cut off anywhere must decode without a panic, and never show more
// payload than there is.
func TestDecodeCutOff(t *testing.T) {
	for _, f := range frames {
		for i := range f.frame {
			if p := topo.Decode(f.frame[:i:i]); len(p.Payload) > i {
				t.Fatalf("%s cut off at %d: %d bytes payload", f.name, i, len(p.Payload))
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range frames {
		f.Add(s.frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		p := topo.Decode(frame)
		if len(p.Payload) > len(frame) || p.String() == "" {
			t.Errorf("decoded % x as %v", frame, p)
		}
		if !bytes.Contains(frame, p.IP) || !bytes.Contains(frame, p.Payload) {
			t.Errorf("packet % x, payload % x are not from the frame % x", p.IP, p.Payload, frame)
		}
	})
}

// IP is the inner packet of every tunnel, byte for byte, without what pads the
// frame.
func TestDecodeInnerPacket(t *testing.T) {
	for _, want := range [][]byte{datagram(client4, vip4, "hello"), datagram(client6, vip6, "hello")} {
		for name, frame := range map[string][]byte{
			"no tunnel": ethernet(ethertype(want), want),
			"ipip":      ethernet(unix.ETH_P_IP, ip(dip4, rip4, ipipProto(want), want)),
			"gre":       ethernet(unix.ETH_P_IPV6, ip(dip6, rip6, unix.IPPROTO_GRE, gre(want, true))),
			"gue": ethernet(unix.ETH_P_IP, datagram(netip.AddrPortFrom(dip4, 5000),
				netip.AddrPortFrom(rip4, topo.GUEPort), string(gue(want)))),
		} {
			got := topo.Decode(append(frame, 0, 0, 0)).IP
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", name, diff)
			}
		}
	}
}

func TestWritePcap(t *testing.T) {
	var b bytes.Buffer
	p := topo.Packet{Time: time.Unix(1, 2), Length: 60, Frame: []byte{0xaa, 0xbb}}
	if err := topo.WritePcap(&b, []topo.Packet{p}); err != nil {
		t.Fatal(err)
	}
	want := []byte{
		0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
		1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 60, 0, 0, 0, 0xaa, 0xbb,
	}
	if diff := cmp.Diff(want, b.Bytes()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestParseAnswer(t *testing.T) {
	want := topo.Answer{Server: "rs1", Local: vip6, Remote: client6}
	for _, end := range []string{"", "\n"} {
		got, err := topo.ParseAnswer("rs1 [2001:db8:ffff::10]:80 [2001:db8::1]:4000" + end)
		if diff := cmp.Diff(want, got, compareAddrs); err != nil || diff != "" {
			t.Errorf("error %v, -want +got\n%s", err, diff)
		}
	}
	for _, bad := range []string{"", "rs1 1.2.3.4:5", "rs1 1.2.3.4:5 x", "rs1 x 1.2.3.4:5", "rs1 1.2.3.4:5 1.2.3.4:5 more"} {
		if a, err := topo.ParseAnswer(bad); err == nil {
			t.Errorf("%q: parsed as %v", bad, a)
		}
	}
}
