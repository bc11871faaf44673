package ipvs

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
)

// Netmask says which clients a persistent service keeps together. The zero
// value is the default, every client by itself: /32, or /128 for IPv6.
//
// The kernel takes any IPv4 mask, contiguous or not, and an IPv6 prefix length
// of 1 to 128. Netmask holds what is left free, so that it is comparable and
// its zero value right for both families.
type Netmask struct {
	wild uint32 // IPv4: the complement of the mask; IPv6: 128 - prefix length
}

// Netmask4 is the IPv4 mask m, such as 255.255.255.0.
func Netmask4(m [4]byte) Netmask {
	return Netmask{^binary.BigEndian.Uint32(m[:])}
}

// PrefixMask is the mask of a prefix length: 0 to 32 for IPv4, 1 to 128 for
// IPv6 (the kernel refuses 0).
func PrefixMask(f Family, length int) (Netmask, error) {
	switch {
	case f == IPv4 && length >= 0 && length <= 32:
		return Netmask{uint32(1<<(32-length) - 1)}, nil
	case f == IPv6 && length >= 1 && length <= 128:
		return Netmask{uint32(128 - length)}, nil
	}
	return Netmask{}, fmt.Errorf("%w: prefix length %d for %s", ErrRange, length, f)
}

// IPv4 returns the mask in network order; m must belong to an IPv4 service.
func (m Netmask) IPv4() (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], ^m.wild)
	return b
}

// Prefix returns the prefix length and whether the mask has one: an IPv4 mask
// need not be contiguous.
func (m Netmask) Prefix(f Family) (length int, ok bool) {
	if f == IPv6 {
		return 128 - int(m.wild), m.wild < 128
	}
	return bits.LeadingZeros32(m.wild), m.wild&(m.wild+1) == 0
}

// IsDefault reports whether every client is by itself.
func (m Netmask) IsDefault() bool { return m.wild == 0 }

// Text is ipvsadm's notation: a dotted mask for IPv4, a length for IPv6.
func (m Netmask) Text(f Family) string {
	if f == IPv6 {
		return strconv.Itoa(128 - int(m.wild))
	}
	return netip.AddrFrom4(m.IPv4()).String()
}

// wire is the kernel's u32: __be32 for IPv4, a length for IPv6. The __be32 is
// given in the machine's order, ready to be put as a native u32.
func (m Netmask) wire(f Family) uint32 {
	if f == IPv6 {
		return 128 - m.wild
	}
	b := m.IPv4()
	return binary.NativeEndian.Uint32(b[:])
}

func netmaskFromWire(f Family, v uint32) Netmask {
	if f == IPv6 {
		return Netmask{128 - v}
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], v)
	return Netmask4(b)
}
