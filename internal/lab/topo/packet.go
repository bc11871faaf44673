package topo

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// MAC is an Ethernet address, comparable.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Packet is a captured frame and what Decode understood of it.
type Packet struct {
	Time   time.Time
	Out    bool // sent by the interface, not received
	Length int  // of the frame on the wire; Frame may be less
	Frame  []byte

	SrcMAC, DstMAC MAC
	Outer          *Outer         // the tunnel around the packet, nil for none
	Src, Dst       netip.AddrPort // innermost addresses; port 0 where there is none
	Proto          string         // tcp, udp, sctp, icmp, icmp6, arp, or a number
	TTL            uint8
	IP             []byte // the innermost IP packet, header and all, as far as it was captured

	// Detail is what matters most of the protocol: the TCP flags (S, SA, PA,
	// R ...), the first chunk of SCTP (INIT ...), type/code of ICMP, who-has
	// or is-at of ARP.
	Detail  string
	Payload []byte // of the transport protocol
	Err     error  // where decoding ended early, nil for a good packet
}

// Outer is the header of a tunnel.
type Outer struct {
	Kind     string         // ipip, gre or gue
	Src, Dst netip.AddrPort // with the UDP ports of gue
	Checksum bool           // of gre, or a UDP checksum of gue
	Remote   bool           // gue leaves the inner checksum to the receiver (remote checksum offload)
}

// String prints the packet on one line, to be read by people.
func (p Packet) String() string {
	var b strings.Builder
	way := "in "
	if p.Out {
		way = "out"
	}
	fmt.Fprintf(&b, "%s %s > %s ", way, p.SrcMAC, p.DstMAC)
	if o := p.Outer; o != nil {
		fmt.Fprintf(&b, "%s %s > %s ", o.Kind, endpoint(o.Src), endpoint(o.Dst))
		if o.Checksum {
			b.WriteString("sum ")
		}
		if o.Remote {
			b.WriteString("remsum ")
		}
	}
	fmt.Fprintf(&b, "%s %s > %s %s, %d bytes", p.Proto, endpoint(p.Src), endpoint(p.Dst), p.Detail, len(p.Payload))
	if p.Err != nil {
		fmt.Fprintf(&b, " (%v)", p.Err)
	}
	return b.String()
}

func endpoint(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}
