package ipvsadm

import (
	"net/netip"
	"strconv"

	"github.com/goipvs/goipvs/ipvs"
)

// maxEndpoint is what ipvsadm prints of an address and port at most, in bytes.
const maxEndpoint = 59

// endpoint appends an address and port, cut as ipvsadm's columns cut it: names
// of IPv4 hosts end at width, counted from start, others at maxEndpoint.
func (v textView) endpoint(b []byte, start int, a netip.AddrPort, p ipvs.Protocol, width int) []byte {
	from := len(b)
	b = v.names.append(b, a, p)
	b = b[:min(len(b), from+maxEndpoint)]
	if a.Addr().Is4() {
		b = b[:min(len(b), start+width)]
	}
	return b
}

// appendEndpoint appends 10.0.0.1:80 or [2001:db8::1]:80.
func appendEndpoint(b []byte, a netip.AddrPort) []byte {
	b = appendHost(b, a.Addr())
	return strconv.AppendUint(append(b, ':'), uint64(a.Port()), 10)
}

func appendHost(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		return a.AppendTo(b)
	}
	return append(appendAddr(append(b, '['), a), ']')
}

// appendAddr appends an address as inet_ntop(3) writes it. netip differs in one
// thing: ::10.0.0.1, the old IPv4-compatible addresses, it writes ::a00:1.
func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is6() {
		if x := a.As16(); [12]byte(x[:12]) == ([12]byte{}) && (x[12] != 0 || x[13] != 0) {
			return netip.AddrFrom4([4]byte(x[12:])).AppendTo(append(b, "::"...))
		}
	}
	return a.AppendTo(b)
}
