package doctor

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	frames "github.com/goipvs/goipvs/sysctl/vip"
)

const etherLen = 14

// whoHas asks for an address. IPv6 is asked in the name of a link-local address:
// in that of nobody it would be taken for duplicate address detection.
func whoHas(on Link, from, who netip.Addr) []byte {
	var mac frames.MAC
	if m, err := net.ParseMAC(on.MAC); err == nil {
		copy(mac[:], m)
	}
	return frames.Question(mac, from, who)
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

const neighbourAdvertisement = 136 // RFC 4861

// advertisements are the filter for frames with a neighbour advertisement.
var advertisements = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: etherLen + 6}, // next header
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 3, K: unix.IPPROTO_ICMPV6},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: etherLen + 40},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: neighbourAdvertisement},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
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
