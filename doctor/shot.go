package doctor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
)

const (
	synFlag = 0x02
	rstFlag = 0x04
	ackFlag = 0x10

	// shotTTL lets the packet come back from a real server that forwards it,
	// and no further.
	shotTTL = 2
	shotSeq = 0x676f6970 // anything
)

// send puts the packet on the wire as IPVS would: with DR in a frame to the
// real server, with TUN in a packet to it.
func (s *shot) send(w *wire, flags byte) error {
	inner := s.packet(flags)
	if s.destination.Method == ipvs.DirectRoute {
		to, err := net.ParseMAC(s.next)
		if err != nil {
			return err
		}
		from, _ := net.ParseMAC(s.link.MAC)
		head := append(append([]byte(nil), to...), from...)
		return w.send(s.link, append(binary.BigEndian.AppendUint16(head, w.proto), inner...))
	}
	return s.sendOuter(s.encapsulate(inner))
}

// packet is what a client would send.
func (s *shot) packet(flags byte) []byte {
	from, to := s.from, s.vip()
	be := binary.BigEndian
	b := be.AppendUint16(be.AppendUint16(nil, from.Port()), to.Port())
	proto, sumAt := uint8(s.service.Protocol), 16
	if s.service.Protocol == ipvs.UDP {
		b, sumAt = append(b, 0, 8, 0, 0), 6
	} else {
		seq := uint32(shotSeq)
		if flags == rstFlag {
			seq++
		}
		b = be.AppendUint32(b, seq)
		b = append(b, 0, 0, 0, 0, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	}
	be.PutUint16(b[sumAt:], checksum(from.Addr(), to.Addr(), proto, b))
	return ipHeader(from.Addr(), to.Addr(), proto, shotTTL, b)
}

const (
	protoIPIP = 4
	protoIPv6 = 41
	protoGRE  = 47
)

// encapsulate puts the tunnel's headers in front, and the outer one.
func (s *shot) encapsulate(inner []byte) (proto uint8, payload []byte) {
	e := s.destination.Encap
	proto, etherType := uint8(protoIPIP), uint16(unix.ETH_P_IP)
	if s.vip().Addr().Is6() {
		proto, etherType = protoIPv6, unix.ETH_P_IPV6
	}
	be := binary.BigEndian
	switch e.Type {
	case ipvs.GRE:
		head := be.AppendUint16([]byte{0, 0}, etherType)
		if e.Flags&ipvs.Csum != 0 {
			head[0] = 0x80
			head = append(head, 0, 0, 0, 0)
			be.PutUint16(head[4:], ^fold(sum(head)+sum(inner)))
		}
		return protoGRE, append(head, inner...)
	case ipvs.GUE:
		b := be.AppendUint16(be.AppendUint16(nil, s.from.Port()), e.Port)
		b = be.AppendUint16(b, uint16(8+4+len(inner)))
		b = append(b, 0, 0, 0, proto, 0, 0) // no checksum; GUE: version 0, no options
		return unix.IPPROTO_UDP, append(b, inner...)
	}
	return proto, inner
}

// sendOuter has the kernel make the outer header and find the way.
func (s *shot) sendOuter(proto uint8, payload []byte) error {
	rip := s.destination.Addr.Addr()
	domain := unix.AF_INET6
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: rip.As16()}
	if rip.Is4() {
		domain, to = unix.AF_INET, &unix.SockaddrInet4{Addr: rip.As4()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	return os.NewSyscallError("sendto", unix.Sendto(fd, payload, 0, to))
}

// addressed are the filter for packets from or to one of our addresses: of
// IPv6 it looks at the last four bytes, judge at the rest.
func addressed(a netip.Addr) []unix.SockFilter {
	b := a.AsSlice()
	last := binary.BigEndian.Uint32(b[len(b)-4:])
	from, to := uint32(etherLen+12), uint32(etherLen+16)
	if a.Is6() {
		from, to = etherLen+8+12, etherLen+24+12
	}
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: from},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 2, Jf: 0, K: last},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: to},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: last},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

// fromAny is the filter for IPv4 packets from any of some addresses.
func fromAny(addrs []netip.Addr) []unix.SockFilter {
	f := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: etherLen + 12}}
	for _, a := range addrs[:min(len(addrs), mostQuestions)] {
		if a.Is4() {
			f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: binary.BigEndian.Uint32(a.AsSlice())},
				unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 128})
		}
	}
	return append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
}

// datagram is an IP packet taken apart.
type datagram struct {
	from, to netip.Addr
	proto    uint8
	ttl      uint8
	payload  []byte
}

func parseIP(b []byte) (d datagram, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && len(b) >= int(b[0]&15)*4 && b[0]&15 >= 5:
		d.from, _ = netip.AddrFromSlice(b[12:16])
		d.to, _ = netip.AddrFromSlice(b[16:20])
		d.proto, d.ttl, d.payload = b[9], b[8], b[int(b[0]&15)*4:]
	case len(b) >= 40 && b[0]>>4 == 6:
		d.from, _ = netip.AddrFromSlice(b[8:24])
		d.to, _ = netip.AddrFromSlice(b[24:40])
		d.proto, d.ttl, d.payload = b[6], b[7], b[40:]
	default:
		return d, false
	}
	return d, true
}

// judge tells what a frame that came in means for the shot: NotTried, if
// nothing.
func (s *shot) judge(b []byte) (Outcome, string) {
	d, ok := parseIP(b[min(etherLen, len(b)):])
	if !ok {
		return NotTried, ""
	}
	if s.isOurs(d) && d.ttl < shotTTL {
		return Looped, fmt.Sprintf("the packet itself, with a TTL of %d", d.ttl)
	}
	if d.to != s.from.Addr() {
		return NotTried, ""
	}
	if d.proto == unix.IPPROTO_ICMP || d.proto == unix.IPPROTO_ICMPV6 {
		return s.judgeICMP(d)
	}
	if d.from != s.vip().Addr() || d.proto != uint8(s.service.Protocol) || !bytes.HasPrefix(d.payload, s.ports(true)) {
		return NotTried, ""
	}
	switch {
	case s.service.Protocol == ipvs.UDP:
		return Answered, "a datagram"
	case len(d.payload) < 14:
		return NotTried, ""
	case d.payload[13]&rstFlag != 0:
		return Refused, "a reset"
	case d.payload[13]&(synFlag|ackFlag) == synFlag|ackFlag:
		return Answered, "SYN-ACK"
	}
	return NotTried, ""
}

// isOurs tells whether it is the packet that was shot.
func (s *shot) isOurs(d datagram) bool {
	return d.from == s.from.Addr() && d.to == s.vip().Addr() && d.proto == uint8(s.service.Protocol) && bytes.HasPrefix(d.payload, s.ports(false))
}

// ports are the first four bytes of TCP and UDP.
func (s *shot) ports(back bool) []byte {
	from, to := s.from.Port(), s.vip().Port()
	if back {
		from, to = to, from
	}
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
}

// judgeICMP: an error quotes the packet that it is about, or what of a tunnel
// was around it.
func (s *shot) judgeICMP(d datagram) (Outcome, string) {
	if len(d.payload) < 8 {
		return NotTried, ""
	}
	quoted, ok := parseIP(d.payload[8:])
	outer := quoted.to == s.destination.Addr.Addr() && s.destination.Method == ipvs.Tunnel && s.isOuter(quoted)
	if !ok || !outer && !s.isOurs(quoted) {
		return NotTried, ""
	}
	kind, code := d.payload[0], d.payload[1]
	detail := fmt.Sprintf("ICMP type %d code %d from %s", kind, code, d.from)
	if d.proto == unix.IPPROTO_ICMPV6 {
		return s.meaning6(kind, code, outer), detail
	}
	switch {
	case kind == 11:
		return Looped, detail
	case kind != 3:
		return NotTried, ""
	case outer && code == 2:
		return NoReceiver, detail
	case outer && code == 3 && s.destination.Encap.Type == ipvs.IPIP:
		return DeviceDown, detail
	case outer && code == 3:
		return NoReceiver, detail
	case code == 3:
		return Refused, detail
	}
	return Forbidden, detail
}

func (s *shot) meaning6(kind, code byte, outer bool) Outcome {
	switch {
	case kind == 3:
		return Looped
	case kind == 4 && outer, kind == 1 && code == 4 && outer && s.destination.Encap.Type != ipvs.IPIP:
		return NoReceiver
	case kind == 1 && code == 4 && outer:
		return DeviceDown
	case kind == 1 && code == 4:
		return Refused
	case kind == 1:
		return Forbidden
	}
	return NotTried
}

func (s *shot) isOuter(d datagram) bool {
	proto, payload := s.encapsulate(s.packet(synFlag))
	n := min(len(d.payload), len(payload), 8)
	if proto == protoGRE {
		n = min(n, 4)
	}
	return d.proto == proto && bytes.Equal(d.payload[:n], payload[:n])
}
