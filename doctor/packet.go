package doctor

import (
	"encoding/binary"
	"net/netip"
)

// ipHeader puts a header of the addresses' family before a payload, without
// fragmentation.
func ipHeader(from, to netip.Addr, proto, ttl uint8, payload []byte) []byte {
	if from.Is6() {
		b := make([]byte, 40, 40+len(payload))
		b[0] = 6 << 4
		binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
		b[6], b[7] = proto, ttl
		copy(b[8:], from.AsSlice())
		copy(b[24:], to.AsSlice())
		return append(b, payload...)
	}
	b := make([]byte, 20, 20+len(payload))
	b[0] = 4<<4 | 5
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	b[6] = 0x40 // do not fragment
	b[8], b[9] = ttl, proto
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(b)))
	return append(b, payload...)
}

// checksum is that of TCP, UDP and ICMPv6, with the pseudo header (RFC 9293
// section 3.1, RFC 8200 section 8.1).
func checksum(from, to netip.Addr, proto uint8, payload []byte) uint16 {
	n := sum(from.AsSlice()) + sum(to.AsSlice()) + uint32(proto) + uint32(len(payload)) + sum(payload)
	return ^fold(n)
}

func sum(b []byte) (n uint32) {
	for ; len(b) > 1; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint32(b[0]) << 8
	}
	return n
}

func fold(n uint32) uint16 {
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
