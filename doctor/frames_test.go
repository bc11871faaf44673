package doctor_test

import (
	"encoding/binary"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

// announce sends a gratuitous ARP request for the virtual address, as network
// scripts do.
func (s *site) announce(h *topo.Host) {
	b := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, h.MAC[:]...)
	b = append(b, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	b = append(append(b, h.MAC[:]...), s.VIP4.AsSlice()...)
	b = append(append(b, 0, 0, 0, 0, 0, 0), s.VIP4.AsSlice()...)
	_ = h.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return unix.Sendto(fd, b, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index})
	})
}

// badChecksum sends a TCP segment whose checksum is wrong.
func (s *site) badChecksum(from, to *topo.Host) {
	seg := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 1234), 80)
	seg = append(seg, 0, 0, 0, 1, 0, 0, 0, 0, 5<<4, 2, 1, 0, 0xba, 0xd1, 0, 0)
	_ = from.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, seg, 0, &unix.SockaddrInet4{Addr: to.Addr4.As4()})
	})
}
