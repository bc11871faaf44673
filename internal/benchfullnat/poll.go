package main

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// poller is the epoll of a client or server: plain and quick, so that the proxy
// between them is what is measured.
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

func (p *poller) wait(milliseconds int) []unix.EpollEvent {
	n, err := unix.EpollWait(p.fd, p.events[:], milliseconds)
	if err != nil {
		return nil
	}
	return p.events[:n]
}

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
