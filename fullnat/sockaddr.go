package fullnat

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is a socket address in the kernel's form, without pointers.
type sockaddr struct {
	raw unix.RawSockaddrInet6 // or RawSockaddrInet4 in its first bytes
	len uint32
}

func newSockaddr(a netip.AddrPort) (s sockaddr) {
	if addr := a.Addr(); addr.Is4() || addr.Is4In6() {
		v4 := s.v4()
		*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: bigEndian(a.Port()), Addr: addr.As4()}
		s.len = unix.SizeofSockaddrInet4
		return s
	}
	s.raw = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: bigEndian(a.Port()), Addr: a.Addr().As16(), Scope_id: scope(a.Addr().Zone())}
	s.len = unix.SizeofSockaddrInet6
	return s
}

func (s *sockaddr) v4() *unix.RawSockaddrInet4 {
	return (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
}

func (s *sockaddr) family() int { return int(s.raw.Family) }

func (s *sockaddr) port() uint16 { return bigEndian(s.raw.Port) } // which IPv4 has at the same place

func (s *sockaddr) setPort(p uint16) { s.raw.Port = bigEndian(p) }

// addrPort does not allocate but for an IPv6 address with a scope.
func (s *sockaddr) addrPort() netip.AddrPort {
	switch s.family() {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4(s.v4().Addr), bigEndian(s.v4().Port))
	case unix.AF_INET6:
		a := netip.AddrFrom16(s.raw.Addr)
		if s.raw.Scope_id != 0 {
			a = a.WithZone(strconv.FormatUint(uint64(s.raw.Scope_id), 10))
		}
		return netip.AddrPortFrom(a, bigEndian(s.raw.Port))
	}
	return netip.AddrPort{}
}

// unscoped is addrPort without the scope, which schedulers do not look at.
func (s *sockaddr) unscoped() netip.AddrPort {
	if s.family() == unix.AF_INET {
		return s.addrPort()
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.raw.Addr), bigEndian(s.raw.Port))
}

// bigEndian turns a port from or into network order.
func bigEndian(p uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], p)
	return binary.NativeEndian.Uint16(b[:])
}

// scope is the interface index of a zone that is a number or a name; 0 when
// there is no such interface.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	return interfaceIndex(zone)
}

// interfaceIndex asks the kernel without package net.
func interfaceIndex(name string) uint32 {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req) != nil {
		return 0
	}
	return req.Uint32()
}
