package vip

import (
	"fmt"
	"net/netip"
	"strings"
)

// Parse reads a virtual address: one unicast address, without a prefix length.
func Parse(s string) (netip.Addr, error) {
	if host, bits, ok := strings.Cut(s, "/"); ok {
		return netip.Addr{}, fmt.Errorf("%q: give the address alone, %s; it is always a host address, not /%s", s, host, bits)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", s)
	}
	for _, c := range []struct {
		is  bool
		why string
	}{
		{a.Is4In6(), "is an IPv4 address in IPv6 notation; write " + a.Unmap().String()},
		{a.Zone() != "", "has a zone; a virtual address is the same on all interfaces"},
		{a.IsUnspecified(), "is no host's address"},
		{a.IsLoopback(), "is a loopback address, which no client can reach"},
		{a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}), "is not an address of one host"},
		{a.IsLinkLocalUnicast(), "is link-local; clients behind a router cannot reach it"},
		{a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240), "is in a reserved range"},
	} {
		if c.is {
			return netip.Addr{}, fmt.Errorf("%s %s", s, c.why)
		}
	}
	return a, nil
}
