package ipvs

import (
	"fmt"
	"net/netip"
	"strings"
)

// Destination is a real server of one service, as it is wanted or configured.
// Its identity within the service is Addr.
type Destination struct {
	// Addr may be of another family than the service's only when Method is
	// Tunnel. Port 0 keeps the virtual port (firewall-mark and port-0 services).
	Addr   netip.AddrPort
	Method Method
	// Weight is its share of new connections; 0 quiesces it. Not negative.
	Weight int32
	// Upper and Lower are connection thresholds: at Upper the server gets no
	// new connections until it is below Lower. 0 means no limit; Lower must not
	// be above Upper.
	Upper, Lower uint32
	// Encap is how a Tunnel destination is reached; zero otherwise.
	Encap Encap
}

// Encap is the encapsulation of a [Tunnel] destination. The zero value is IPIP.
type Encap struct {
	Type  TunnelType
	Port  uint16 // UDP port, GUE only
	Flags TunnelFlags
}

// String is "10.0.0.1:80 nat weight 1", followed by what is not the default.
func (d Destination) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s weight %d", d.Addr, d.Method, d.Weight)
	if d.Upper != 0 || d.Lower != 0 {
		fmt.Fprintf(&b, " thresholds %d %d", d.Upper, d.Lower)
	}
	if d.Encap != (Encap{}) {
		fmt.Fprintf(&b, " %s port %d %s", d.Encap.Type, d.Encap.Port, d.Encap.Flags)
	}
	return b.String()
}

// DestinationInfo is a destination as the kernel reports it.
type DestinationInfo struct {
	Destination
	// Active, Inactive and Persistent count the connections and persistence
	// templates bound to it now.
	Active, Inactive, Persistent uint32
	Stats                        Stats
}
