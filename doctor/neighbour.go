package doctor

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const etherLen = 14

// whoHas is an ARP request (RFC 826) as a frame to everybody.
func whoHas(on Link, from, who netip.Addr) []byte {
	mac, _ := net.ParseMAC(on.MAC)
	b := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac...)
	b = append(b, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	b = append(b, mac...)
	b = append(b, from.AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, who.AsSlice()...)
}

type arpMessage struct {
	reply          bool
	mac, to        string
	sender, target netip.Addr
}

func parseARP(b []byte) (m arpMessage, ok bool) {
	const size = etherLen + 28
	if len(b) < size || binary.BigEndian.Uint64(b[12:]) != 0x0806_0001_0800_0604 {
		return m, false
	}
	op := binary.BigEndian.Uint16(b[20:])
	m = arpMessage{reply: op == 2, mac: net.HardwareAddr(b[22:28]).String(), to: net.HardwareAddr(b[32:38]).String()}
	m.sender, _ = netip.AddrFromSlice(b[28:32])
	m.target, _ = netip.AddrFromSlice(b[38:42])
	return m, op == 1 || op == 2
}

const (
	neighbourSolicitation  = 135 // RFC 4861
	neighbourAdvertisement = 136
)

// advertisements are the filter for frames with a neighbour advertisement.
var advertisements = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: etherLen + 6}, // next header
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 3, K: unix.IPPROTO_ICMPV6},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: etherLen + 40},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: neighbourAdvertisement},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// solicitation asks for an IPv6 address, in the name of a link-local one: in
// that of nobody it would be taken for duplicate address detection.
func solicitation(on Link, from, who netip.Addr) []byte {
	mac, _ := net.ParseMAC(on.MAC)
	w := who.As16()
	to := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: w[13], 14: w[14], 15: w[15]})
	msg := append([]byte{neighbourSolicitation, 0, 0, 0, 0, 0, 0, 0}, who.AsSlice()...)
	msg = append(msg, 1, 1) // source link-layer address, 8 bytes
	msg = append(msg, mac...)
	binary.BigEndian.PutUint16(msg[2:], checksum(from, to, unix.IPPROTO_ICMPV6, msg))
	b := append([]byte{0x33, 0x33, 0xff, w[13], w[14], w[15]}, mac...)
	b = append(b, 0x86, 0xdd)
	return append(b, ipHeader(from, to, unix.IPPROTO_ICMPV6, 255, msg)...)
}

// parseNA returns the address that is advertised and the MAC address that has
// it: that of the option, else the sender of the frame.
func parseNA(b []byte) (target netip.Addr, mac string, ok bool) {
	const fixed = etherLen + 40 + 24
	if len(b) < fixed || b[20] != unix.IPPROTO_ICMPV6 || b[54] != neighbourAdvertisement {
		return target, "", false
	}
	target, _ = netip.AddrFromSlice(b[62:78])
	mac = net.HardwareAddr(b[6:12]).String()
	if o := b[fixed:]; len(o) >= 8 && o[0] == 2 && o[1] == 1 {
		mac = net.HardwareAddr(o[2:8]).String()
	}
	return target, mac, true
}
