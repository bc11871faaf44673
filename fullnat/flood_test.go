package fullnat_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
)

// A flood of SYNs whose senders do not answer ends in the kernel: clients are
// served, and the engine and its schedulers see them only.
func TestKernelSYNFlood(t *testing.T) {
	p := newPaths(t)
	p.must(p.Director.Sysctl("net.core.somaxconn", "16")) // a queue that is soon full
	p.must(p.Director.Sysctl("net.ipv4.tcp_syncookies", "1"))
	to := p.serve(p.VIP4, ipvs.TCP, 80, []netip.Addr{p.Servers[0].Addr4}, p.Servers[0])
	nobody := netip.MustParseAddr("203.0.113.7")
	p.on(p.Router, func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: netlink.NewIPNet(nobody.AsSlice()), Type: unix.RTN_BLACKHOLE})
	})
	p.on(p.Clients[1], func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for port := range uint16(500) {
			if err := unix.Sendto(fd, synFrom(nobody.As4(), 1024+port, to), 0, &unix.SockaddrInet4{Addr: to.Addr().As4()}); err != nil {
				return err
			}
		}
		return nil
	})
	for range 5 {
		a, err := p.Client.Ask(t.Context(), "tcp", netip.AddrPort{}, to)
		p.must(err)
		if a.Server != p.Servers[0].Name {
			t.Errorf("server %s", a.Server)
		}
	}
	info, _ := p.e.Service(ipvs.AddrService(ipvs.TCP, to))
	if d := info.Destinations[0]; info.Stats.Conns != 5 || d.Active+d.Inactive != 5 {
		t.Errorf("%d connections, %d active and %d inactive, want 5 in all", info.Stats.Conns, d.Active, d.Inactive)
	}
}

// synFrom is an IPv4 packet with the first segment of a connection.
func synFrom(from [4]byte, port uint16, to netip.AddrPort) []byte {
	dst := to.Addr().As4()
	b := []byte{0: 0x45, 3: 40, 8: 64, 9: unix.IPPROTO_TCP, 39: 0} // the kernel fills in id and checksum
	copy(b[12:], from[:])
	copy(b[16:], dst[:])
	tcp := b[20:]
	binary.BigEndian.PutUint16(tcp, port)
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	tcp[12], tcp[13] = 5<<4, 2 // header length, SYN
	tcp[14] = 0x10             // window
	sum := uint32(unix.IPPROTO_TCP + len(tcp))
	for _, part := range [][]byte{b[12:20], tcp} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
	return b
}
