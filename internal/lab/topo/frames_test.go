package topo_test

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The functions here build packets from the inside out, for tests that send or
// decode them.

// ethernet puts b in a frame from 02:..:01 to 02:..:02.
func ethernet(ethertype uint16, b []byte) []byte {
	f := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	return append(binary.BigEndian.AppendUint16(f, ethertype), b...)
}

// ip is an IPv4 or IPv6 packet without options.
func ip(src, dst netip.Addr, proto byte, b []byte) []byte {
	if src.Is6() {
		h := make([]byte, 40)
		h[0], h[6], h[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(h[4:], uint16(len(b)))
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
		return append(h, b...)
	}
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(b)))
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return append(h, b...)
}

// datagram is a whole UDP packet with its checksum.
func datagram(src, dst netip.AddrPort, payload string) []byte {
	u := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(u, src.Port())
	binary.BigEndian.PutUint16(u[2:], dst.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	u = append(u, payload...)
	pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_UDP, 0, byte(len(u)))
	if len(u)%2 != 0 {
		pseudo = append(append(pseudo, u...), 0)
	} else {
		pseudo = append(pseudo, u...)
	}
	binary.BigEndian.PutUint16(u[6:], checksum(pseudo))
	return ip(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, u)
}

// segment is a TCP segment, without a checksum: it is for decoding only.
func segment(src, dst netip.AddrPort, flags byte, payload string) []byte {
	t := make([]byte, 20)
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	t[12], t[13] = 5<<4, flags
	return ip(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, append(t, payload...))
}

// gre is a GRE header around an IP packet, with a checksum if sum is set.
func gre(inner []byte, sum bool) []byte {
	h := binary.BigEndian.AppendUint16([]byte{0, 0}, ethertype(inner))
	if !sum {
		return append(h, inner...)
	}
	h[0] = 0x80
	b := append(append(h, 0, 0, 0, 0), inner...)
	binary.BigEndian.PutUint16(b[4:], checksum(b))
	return b
}

// gue is the GUE header around an IP packet, to be sent in a UDP datagram.
func gue(inner []byte) []byte {
	return append([]byte{0, ipipProto(inner), 0, 0}, inner...)
}

func ethertype(packet []byte) uint16 {
	if packet[0]>>4 == 6 {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

func ipipProto(packet []byte) byte {
	if packet[0]>>4 == 6 {
		return unix.IPPROTO_IPV6
	}
	return unix.IPPROTO_IPIP
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
