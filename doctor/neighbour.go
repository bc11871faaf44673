package doctor

import (
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
