package doctor_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// sizes are faults of packets too large for the tunnel, seen by the director.
func (s *site) sizes() []fault {
	longer := doctor.Options{Wait: time.Second}
	sent := func(want, name string, port uint16, size, discover int) fault {
		v := s.at(ipvs.UDP, port, "rr")
		return s.apart(fault{want: want, name: name, on: s.Director, opts: longer, do: func() {}, undo: func() {},
			during: func(context.Context) { s.send(s.Client, v.Addr, size, discover) }}, v)
	}
	return []fault{
		sent("tun-mtu", "seen by the director", 8041, 1472, unix.IP_PMTUDISC_PROBE),
		// This kernel looks at the size of each part: no gso-oversize.
		sent("tun-mtu", "put together by GRO", 8042, 8*1472, unix.IP_PMTUDISC_PROBE),
		sent("", "fragments that clients allow", 8043, 1472, unix.IP_PMTUDISC_DONT),
	}
}

// send sends bytes in datagrams of up to 1472. Several travel as one packet that
// the last interface would take apart, as a card puts them together that
// receives them. With IP_PMTUDISC_PROBE they must not be fragmented, and the
// path's MTU, once learnt, is not heeded.
func (s *site) send(h *topo.Host, to netip.AddrPort, n, discover int) {
	_ = h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, discover); err != nil {
			return err
		}
		segment := make([]byte, unix.CmsgSpace(2))
		head := unix.Cmsghdr{Level: unix.IPPROTO_UDP, Type: unix.UDP_SEGMENT}
		head.SetLen(unix.CmsgLen(2))
		_, _ = binary.Encode(segment, binary.NativeEndian, head)
		binary.NativeEndian.PutUint16(segment[unix.CmsgLen(0):], 1472)
		return unix.Sendmsg(fd, make([]byte, n), segment, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}, 0)
	})
	time.Sleep(5 * time.Millisecond) // goes on in a loop, and leaves the machine to others
}
