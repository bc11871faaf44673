package topo

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// tunnel goes on inside a tunnel. A tunnel within a tunnel stays closed.
func (p *Packet) tunnel(proto byte, b []byte) error {
	if p.Outer != nil {
		return nil
	}
	switch proto {
	case unix.IPPROTO_IPIP, unix.IPPROTO_IPV6:
		p.enter(Outer{Kind: "ipip"})
		return p.inner(proto, b)
	case unix.IPPROTO_GRE:
		return p.gre(b)
	}
	return nil
}

// enter makes the addresses found so far those of the tunnel.
func (p *Packet) enter(o Outer) {
	o.Src, o.Dst = p.Src, p.Dst
	p.Outer = &o
}

func (p *Packet) inner(proto byte, b []byte) error {
	switch proto {
	case unix.IPPROTO_IPIP:
		return p.ipv4(b)
	case unix.IPPROTO_IPV6:
		return p.ipv6(b)
	}
	return nil
}

// gre is RFC 2784 with the key and sequence number of RFC 2890.
func (p *Packet) gre(b []byte) error {
	if len(b) < 4 {
		return errShort
	}
	flags, header := b[0], 4
	for _, optional := range []byte{0x80, 0x20, 0x10} { // checksum, key, sequence number
		if flags&optional != 0 {
			header += 4
		}
	}
	if len(b) < header {
		return errShort
	}
	p.enter(Outer{Kind: "gre", Checksum: flags&0x80 != 0})
	return p.network(binary.BigEndian.Uint16(b[2:]), b[header:])
}

// gue is the UDP header b and the generic UDP encapsulation in it, version 0 of
// draft-ietf-intarea-gue: data packets only.
func (p *Packet) gue(b []byte) error {
	g := b[8:]
	if len(g) < 4 {
		return errShort
	}
	header := 4 + int(g[0]&0x1f)*4
	if len(g) < header {
		return errShort
	}
	const version, control = 0xc0, 0x20
	if g[0]&(version|control) != 0 {
		return nil
	}
	p.enter(Outer{Kind: "gue", Checksum: binary.BigEndian.Uint16(b[6:]) != 0, Remote: remoteChecksum(g[:header])})
	return p.inner(g[1], g[header:])
}

// remoteChecksum tells whether a GUE header has the private flag
// GUE_PFLAG_REMCSUM of include/net/gue.h.
func remoteChecksum(header []byte) bool {
	const private, remcsum = 0x01, 0x80
	return len(header) >= 8 && header[3]&private != 0 && header[4]&remcsum != 0
}
