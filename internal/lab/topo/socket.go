package topo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is how long Dial and Ask wait when their context has no deadline.
const Patience = time.Minute

// proto is a transport protocol as the socket call wants it.
type proto struct{ kind, number int }

func protocol(name string) (proto, error) {
	switch name {
	case "tcp":
		return proto{unix.SOCK_STREAM, unix.IPPROTO_TCP}, nil
	case "udp":
		return proto{unix.SOCK_DGRAM, unix.IPPROTO_UDP}, nil
	case "sctp": // one-to-one style: to its user it is like TCP
		return proto{unix.SOCK_STREAM, unix.IPPROTO_SCTP}, nil
	}
	return proto{}, fmt.Errorf("unknown protocol %q", name)
}

// Listen listens on this host for tcp or sctp. The address need not be the
// host's yet. The listener is the caller's to close.
func (h *Host) Listen(network string, addr netip.AddrPort) (net.Listener, error) {
	var l net.Listener
	err := h.bound(network, addr, func(f *os.File, fd int) (err error) {
		if err := unix.Listen(fd, 4096); err != nil {
			return err
		}
		l, err = net.FileListener(f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("topo: %s: listen on %s %s: %w", h.Name, network, addr, err)
	}
	return l, nil
}

// ListenPacket is Listen for udp.
func (h *Host) ListenPacket(network string, addr netip.AddrPort) (net.PacketConn, error) {
	var c net.PacketConn
	err := h.bound(network, addr, func(f *os.File, _ int) (err error) {
		c, err = net.FilePacketConn(f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("topo: %s: listen on %s %s: %w", h.Name, network, addr, err)
	}
	return c, nil
}

// bound hands a socket bound to addr to use, which makes a net type of it: a
// copy, so the file is closed afterwards.
func (h *Host) bound(network string, addr netip.AddrPort, use func(f *os.File, fd int) error) error {
	fd, err := h.socket(network, addr)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), network)
	defer f.Close()
	return use(f, fd)
}

// socket opens a non-blocking socket in the host's namespace and binds it.
func (h *Host) socket(network string, local netip.AddrPort) (fd int, err error) {
	p, err := protocol(network)
	if err != nil {
		return -1, err
	}
	family, level, freebind := unix.AF_INET, unix.SOL_IP, unix.IP_FREEBIND
	if local.Addr().Is6() {
		family, level, freebind = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_FREEBIND
	}
	err = h.Do(func() error {
		fd, err = unix.Socket(family, p.kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, p.number)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return -1, err
	}
	set := func(level, name int) {
		err = errors.Join(err, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, name, 1)))
	}
	set(level, freebind)
	if p.kind == unix.SOCK_STREAM { // a port in TIME_WAIT is free to use again
		set(unix.SOL_SOCKET, unix.SO_REUSEADDR)
	}
	if family == unix.AF_INET6 {
		set(unix.SOL_IPV6, unix.IPV6_V6ONLY)
	}
	if local.Port() == 0 && network == "tcp" { // or 28,000 connections would use up all ports
		set(unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(local)))
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// dial opens a connection; from is complete but for the port.
func (h *Host) dial(ctx context.Context, network string, from, to netip.AddrPort) (net.Conn, error) {
	fd, err := h.socket(network, from)
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, sockaddr(to))
	f := os.NewFile(uintptr(fd), network)
	defer f.Close()
	if errors.Is(err, unix.EINPROGRESS) {
		err = await(ctx, f)
	}
	if err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// await waits for a connect under way. A socket may become writable for other
// reasons, so it counts only when the socket has an error or a peer.
func await(ctx context.Context, f *os.File) error {
	defer limit(ctx, f.SetDeadline)()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err == nil {
			_, err = unix.Getpeername(int(fd))
		}
		result = err
		return err != unix.ENOTCONN
	})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return os.NewSyscallError("connect", result)
}

// limit puts the context's end, or Patience, on a connection. The caller calls
// the result when the operation is over.
func limit(ctx context.Context, setDeadline func(time.Time) error) (stop func() bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(Patience)
	}
	_ = setDeadline(deadline) // fails on a closed connection, as the operation will
	return context.AfterFunc(ctx, func() { _ = setDeadline(time.Unix(1, 0)) })
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
