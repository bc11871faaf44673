package topo

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// ports reads what TCP, UDP and SCTP begin with.
func (p *Packet) ports(b []byte, header int) error {
	if len(b) < header {
		return errShort
	}
	p.Src = netip.AddrPortFrom(p.Src.Addr(), binary.BigEndian.Uint16(b))
	p.Dst = netip.AddrPortFrom(p.Dst.Addr(), binary.BigEndian.Uint16(b[2:]))
	p.Payload = b[header:]
	return nil
}

func (p *Packet) tcp(b []byte) error {
	if err := p.ports(b, 20); err != nil {
		return err
	}
	var flags strings.Builder
	for i, f := range "FSRPAUEW" {
		if b[13]>>i&1 != 0 {
			flags.WriteRune(f)
		}
	}
	p.Detail = flags.String()
	header := int(b[12]>>4) * 4
	if header < 20 || header > len(b) {
		return errShort
	}
	p.Payload = b[header:]
	return nil
}

func (p *Packet) udp(b []byte) error {
	if err := p.ports(b, 8); err != nil {
		return err
	}
	if p.Dst.Port() == GUEPort && p.Outer == nil {
		return p.gue(b)
	}
	return nil
}

func (p *Packet) sctp(b []byte) error {
	if err := p.ports(b, 12); err != nil {
		return err
	}
	if len(p.Payload) == 0 {
		return nil
	}
	chunks := []string{"DATA", "INIT", "INIT-ACK", "SACK", "HEARTBEAT", "HEARTBEAT-ACK", "ABORT", "SHUTDOWN",
		"SHUTDOWN-ACK", "ERROR", "COOKIE-ECHO", "COOKIE-ACK", "ECNE", "CWR", "SHUTDOWN-COMPLETE"}
	p.Detail = strconv.Itoa(int(p.Payload[0]))
	if int(p.Payload[0]) < len(chunks) {
		p.Detail = chunks[p.Payload[0]]
	}
	return nil
}

func (p *Packet) icmp(b []byte) error {
	if len(b) < 8 {
		return errShort
	}
	p.Detail = strconv.Itoa(int(b[0])) + "/" + strconv.Itoa(int(b[1]))
	p.Payload = b[8:]
	return nil
}
