package main

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Clients and servers are as cheap as they can be, so that the proxy between
// them is what is measured. Go's scheduler is not told of their system calls:
// what it does about them wakes threads that get into the proxy's way.

// poller is the epoll of a client or server.
type poller struct {
	fd     int
	events [512]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poller{fd: fd}, err
}

func (p *poller) add(fd int, events uint32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (p *poller) change(fd int, events uint32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// wait waits for events.
func (p *poller) wait(most time.Duration) []unix.EpollEvent {
	timeout := unix.NsecToTimespec(int64(most))
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	if e != 0 {
		return nil
	}
	return p.events[:n]
}

// receive returns 0 at the end of a stream.
func receive(fd int, b []byte, flags int) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	return int(n), e
}

func send(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// receiveFrom and sendTo are for datagrams.
func receiveFrom(fd int, b []byte, from *unix.RawSockaddrInet4) (int, syscall.Errno) {
	size := uint32(unsafe.Sizeof(*from))
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size)))
	return int(n), e
}

func sendTo(fd int, b []byte, to *unix.RawSockaddrInet4) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to))
	return e
}

// sendTrain sends datagrams of a size with one call (UDP_SEGMENT).
func sendTrain(fd int, b []byte, each uint16, to *unix.RawSockaddrInet4) syscall.Errno {
	var mark struct {
		hdr  unix.Cmsghdr
		size uint16
		_    [6]byte
	}
	mark.hdr.Level, mark.hdr.Type, mark.size = unix.SOL_UDP, unix.UDP_SEGMENT, each
	mark.hdr.SetLen(unix.CmsgLen(2))
	vec := unix.Iovec{Base: unsafe.SliceData(b)}
	vec.SetLen(len(b))
	h := unix.Msghdr{Name: (*byte)(unsafe.Pointer(to)), Namelen: uint32(unsafe.Sizeof(*to)), Iov: &vec, Control: (*byte)(unsafe.Pointer(&mark))}
	h.SetIovlen(1)
	h.SetControllen(unix.CmsgSpace(2))
	_, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), unix.MSG_DONTWAIT)
	return e
}

// takeTrains has a socket receive as one what the kernel has together.
func takeTrains(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) }

// accept returns -1 when nobody waits.
func accept(fd int) int {
	n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1
	}
	return int(n)
}

func shut(fd int) { _, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func address(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

func open(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil && kind == unix.SOCK_STREAM {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	return fd, err
}

func listen(a netip.AddrPort) (int, error) {
	fd, err := open(unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, address(a)); err != nil {
		return -1, fmt.Errorf("bind %s: %w", a, err)
	}
	return fd, unix.Listen(fd, 16384)
}
