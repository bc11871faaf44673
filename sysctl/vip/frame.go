package vip

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Kind is what an ARP or neighbour discovery packet does.
type Kind string

// The packets that matter to who has an address.
const (
	WhoHas    Kind = "ARP request"
	IsAt      Kind = "ARP reply"
	Solicit   Kind = "neighbour solicitation"
	Advertise Kind = "neighbour advertisement"
)

// MAC is an Ethernet address.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText is String.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Message is an ARP or neighbour discovery packet.
type Message struct {
	Kind   Kind
	From   MAC        // of the frame
	Owner  MAC        // what hosts are to learn: of the sender, in an advertisement of the target
	To     MAC        // of the host that an ARP reply is for
	Sender netip.Addr // the address the sender says is its own; unspecified for a probe
	Target netip.Addr // the address that is asked for or answered for
}

// Claims is true where the message makes those who hear it believe that its
// sender has the address: an answer for it, and an ARP request or a
// solicitation with it as the sender's.
func (m Message) Claims(addr netip.Addr) bool {
	return m.Sender == addr || m.Kind == Advertise && m.Target == addr
}

var (
	broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes  = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 1})
)

const (
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
	icmp6     = 58
)

// arp builds an Ethernet frame (RFC 826).
func arp(op uint16, to MAC, from MAC, sender netip.Addr, target MAC, asked netip.Addr) []byte {
	f := ethernet(to, from, etherARP)
	f = append(f, 0, 1, 8, 0, 6, 4)
	f = binary.BigEndian.AppendUint16(f, op)
	f = append(append(f, from[:]...), sender.AsSlice()...)
	f = append(append(f, target[:]...), asked.AsSlice()...)
	return append(f, make([]byte, 60-len(f))...) // the least an Ethernet frame has
}

func ethernet(to, from MAC, kind uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte{}, to[:]...), from[:]...), kind)
}

// Question asks on an Ethernet link who has an address, in the name of the
// sender: an ARP request or a neighbour solicitation, as a whole frame. An
// unspecified sender makes it a probe, which for IPv6 looks like duplicate
// address detection.
func Question(from MAC, sender, addr netip.Addr) []byte {
	if addr.Is4() {
		return ask4(from, sender, addr)
	}
	return ask6(from, sender, addr)
}

// ask4 is an ARP request; a sender of 0.0.0.0 makes it a probe, which changes no
// neighbour's table (RFC 5227).
func ask4(from MAC, sender, addr netip.Addr) []byte {
	return arp(1, broadcast, from, sender, MAC{}, addr)
}

// ask6 is a solicitation to the group of nodes that may have the address (RFC
// 4861 section 4.3).
func ask6(from MAC, sender, addr netip.Addr) []byte {
	a := addr.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
	body := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, a[:]...)
	if !sender.IsUnspecified() {
		body = append(append(body, 1, 1), from[:]...)
	}
	return nd(from, sender, group, body)
}

// tell6 is an unsolicited advertisement to all nodes; override makes them
// replace what they know (RFC 4861 section 4.4).
func tell6(from MAC, addr netip.Addr, router bool) []byte {
	flags := byte(0x20)
	if router {
		flags |= 0x80
	}
	body := append([]byte{136, 0, 0, 0, flags, 0, 0, 0}, addr.AsSlice()...)
	return nd(from, addr, allNodes, append(append(body, 2, 1), from[:]...))
}

// nd builds a frame to a multicast group.
func nd(from MAC, src, group netip.Addr, body []byte) []byte {
	g := group.As16()
	f := ethernet(MAC{0x33, 0x33, g[12], g[13], g[14], g[15]}, from, etherIPv6)
	f = append(f, 0x60, 0, 0, 0, byte(len(body)>>8), byte(len(body)), icmp6, 255) // less hops: not from the link
	f = append(append(f, src.AsSlice()...), g[:]...)
	binary.BigEndian.PutUint16(body[2:], checksum(src, group, body))
	return append(f, body...)
}

// checksum is that of ICMPv6, over a pseudo header (RFC 8200 section 8.1). The
// body has an even length.
func checksum(src, dst netip.Addr, body []byte) uint16 {
	sum := uint32(icmp6 + len(body))
	for _, b := range [][]byte{src.AsSlice(), dst.AsSlice(), body} {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Decode reads an Ethernet frame; ok is false when it is no message of a Kind.
func Decode(frame []byte) (m Message, ok bool) {
	if len(frame) < 14 {
		return m, false
	}
	m.From = MAC(frame[6:12])
	body := frame[14:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		return m, m.decodeARP(body)
	case etherIPv6:
		return m, m.decodeND(body)
	}
	return m, false
}

func (m *Message) decodeARP(b []byte) bool {
	if len(b) < 28 || binary.BigEndian.Uint32(b) != 0x00010800 || b[4] != 6 || b[5] != 4 {
		return false
	}
	switch binary.BigEndian.Uint16(b[6:]) {
	case 1:
		m.Kind = WhoHas
	case 2:
		m.Kind = IsAt
	default:
		return false
	}
	m.Owner, m.To = MAC(b[8:14]), MAC(b[18:24])
	m.Sender, m.Target = netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	return true
}

func (m *Message) decodeND(b []byte) bool {
	if len(b) < 64 || b[0]>>4 != 6 || b[6] != icmp6 {
		return false
	}
	option := byte(1) // the source's address (RFC 4861 section 4.6.1)
	switch b[40] {
	case 135:
		m.Kind = Solicit
	case 136:
		m.Kind, option = Advertise, 2 // the target's
	default:
		return false
	}
	m.Owner = m.From
	if o := b[64:]; len(o) >= 8 && o[0] == option && o[1] == 1 {
		m.Owner = MAC(o[2:8])
	}
	m.Sender, m.Target = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[48:64]))
	return true
}
