package snat

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
)

// Whatever comes from the kernel, or from somebody who speaks in its place, is
// read without a panic.
func FuzzDecodeRule(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x0d\x00\x07\x00\x00\x07tcp 1:2\x00"))
	f.Add([]byte("\x02\x00\x00\x00\x0d\x00\x07\x00\x00\xfftcp 1:2\x00"))
	f.Add([]byte{2, 0, 0, 0, 4, 0, 4, 0x80})
	f.Fuzz(func(_ *testing.T, b []byte) {
		decodeRule(b)
		decodeGoto(b)
	})
}

// A service has a chain of its own, whose name tells which.
func FuzzParseChain(f *testing.F) {
	for _, k := range []ipvs.ServiceKey{
		ipvs.MarkService(7, ipvs.IPv4),
		ipvs.MarkService(1<<32-1, ipvs.IPv6),
		ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80")),
		ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("[2001:db8::1]:0")),
		ipvs.AddrService(ipvs.SCTP, netip.MustParseAddrPort("[::]:65535")),
	} {
		name := chainOf(k)
		if again, ok := parseChain(familyOf(k), name); !ok || again != k {
			f.Errorf("%s: chain %q is that of %v, %v", k, name, again, ok)
		}
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, f := range families {
			if k, ok := parseChain(f, name); ok && chainOf(k) != name {
				t.Errorf("%q is read as %v, whose chain is %q", name, k, chainOf(k))
			}
		}
	})
}
