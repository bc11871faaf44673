package topo

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

var errShort = errors.New("packet too short")

// Decode takes an Ethernet frame apart. It understands ARP, IPv4 and IPv6, one
// tunnel (IP in IP, GRE, GUE to GUEPort), TCP, UDP, SCTP and ICMP. It never
// fails altogether: Err tells where it had to stop.
func Decode(frame []byte) Packet { return decode(frame, len(frame)) }

// decode takes a frame of which only the beginning may have been captured.
func decode(frame []byte, length int) Packet {
	p := Packet{Frame: frame, Length: length}
	if len(frame) < 14 {
		p.Err = errShort
		return p
	}
	copy(p.DstMAC[:], frame)
	copy(p.SrcMAC[:], frame[6:])
	p.Err = p.network(binary.BigEndian.Uint16(frame[12:]), frame[14:])
	return p
}

func (p *Packet) network(ethertype uint16, b []byte) error {
	switch ethertype {
	case unix.ETH_P_ARP:
		return p.arp(b)
	case unix.ETH_P_IP:
		return p.ipv4(b)
	case unix.ETH_P_IPV6:
		return p.ipv6(b)
	}
	return errors.New("ethertype " + strconv.FormatUint(uint64(ethertype), 16))
}

// arp is RFC 826 for IPv4 over Ethernet: Src asks or answers, Dst is the address
// in question, or the asker.
func (p *Packet) arp(b []byte) error {
	if len(b) < 28 {
		return errShort
	}
	p.Proto, p.Detail = "arp", "who-has"
	if binary.BigEndian.Uint16(b[6:]) == 2 {
		p.Detail = "is-at"
	}
	p.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[14:])), 0)
	p.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[24:])), 0)
	return nil
}

func (p *Packet) ipv4(b []byte) error {
	if len(b) < 20 || b[0]>>4 != 4 {
		return errShort
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || header > len(b) {
		return errShort
	}
	total, err := p.within(total, b)
	if err != nil || total < header {
		return errShort
	}
	p.IP = b[:total]
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	first := binary.BigEndian.Uint16(b[6:])&0x1fff == 0
	return p.transport(src, dst, b[8], b[9], first, b[header:total])
}

func (p *Packet) ipv6(b []byte) error {
	if len(b) < 40 || b[0]>>4 != 6 {
		return errShort
	}
	src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	ttl, next, first := b[7], b[6], true
	length, err := p.within(int(binary.BigEndian.Uint16(b[4:])), b[40:])
	if err != nil {
		return err
	}
	p.IP = b[:40+length]
	b = p.IP[40:]
	for {
		size := 8
		switch next {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
			if len(b) < 2 {
				return errShort
			}
			size += int(b[1]) * 8
		case unix.IPPROTO_FRAGMENT:
			if len(b) < size {
				return errShort
			}
			first = first && binary.BigEndian.Uint16(b[2:])>>3 == 0
		default:
			return p.transport(src, dst, ttl, next, first, b)
		}
		if len(b) < size {
			return errShort
		}
		next, b = b[0], b[size:]
	}
}

// within makes sure that the length a header tells fits into b. A header that
// tells 0 means the rest: so it is in a large packet that the kernel has yet to
// segment.
func (p *Packet) within(length int, b []byte) (int, error) {
	cutOff := p.Length > len(p.Frame)
	switch {
	case length == 0 || length > len(b) && cutOff:
		return len(b), nil
	case length > len(b):
		return 0, errShort
	}
	return length, nil
}

// transport decodes what an IP packet carries. Only the first fragment of a
// packet has a header.
func (p *Packet) transport(src, dst netip.Addr, ttl, proto byte, first bool, b []byte) error {
	p.Src, p.Dst, p.TTL = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0), ttl
	p.Proto, p.Payload = protoName(proto), b
	if !first {
		p.Detail = "fragment"
		return nil
	}
	switch proto {
	case unix.IPPROTO_TCP:
		return p.tcp(b)
	case unix.IPPROTO_UDP:
		return p.udp(b)
	case unix.IPPROTO_SCTP:
		return p.sctp(b)
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return p.icmp(b)
	}
	return p.tunnel(proto, b)
}

func protoName(proto byte) string {
	switch proto {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_ICMP:
		return "icmp"
	case unix.IPPROTO_ICMPV6:
		return "icmp6"
	}
	return strconv.Itoa(int(proto))
}
