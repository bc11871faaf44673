package sched

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
)

// fold makes a number of an address of a service of family f: IPv4 the address
// itself, IPv6 the sum of its words without carry. The kernel reads an IPv6
// server of an IPv4 service as IPv4, which is its first word.
func fold(f ipvs.Family, a netip.Addr) uint32 {
	b := a.As16()
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	switch {
	case f != ipvs.IPv4:
		return word(0) ^ word(1) ^ word(2) ^ word(3)
	case a.Is4() || a.Is4In6():
		return word(3)
	}
	return word(0)
}

// mul is the kernel's hash_32: a bucket number of the given bits, by the golden
// ratio (include/linux/hash.h).
func mul(x uint32, bits int) uint32 { return x * 0x61c88647 >> (32 - bits) }

// sip is SipHash-1-3 (Aumasson and Bernstein) of four bytes under the key (k, k),
// cut to 32 bits: the kernel's hsiphash_1u32 on 64-bit little-endian machines.
func sip(x uint32, k uint64) uint32 {
	v0, v1 := k^0x736f6d6570736575, k^0x646f72616e646f6d
	v2, v3 := k^0x6c7967656e657261, k^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	last := 4<<56 | uint64(x) // the message, and its length in the top byte
	v3 ^= last
	round()
	v0 ^= last
	v2 ^= 0xff
	round()
	round()
	round()
	return uint32(v0 ^ v1 ^ v2 ^ v3)
}
