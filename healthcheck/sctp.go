package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialSCTP sets up an association with the server and aborts it at once. Package
// net knows nothing of SCTP; the socket is of the kind that behaves as one of
// TCP (RFC 6458 section 4).
func (d *Dialer) dialSCTP(ctx context.Context) error {
	to := d.Address()
	if !to.IsValid() || to.Port() == 0 {
		return ours(fmt.Errorf("no address and port to check (%v)", to))
	}
	d.Stage("connecting")
	start := time.Now()
	if err := d.associate(ctx, to); err != nil {
		d.Note("sctp connect to %v: %v", to, err)
		return fmt.Errorf("sctp connect to %v: %w", to, err)
	}
	d.Note("sctp connected to %v after %v", to, time.Since(start).Round(10*time.Microsecond))
	return nil
}

func (d *Dialer) associate(ctx context.Context, to netip.AddrPort) error {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return ours(fmt.Errorf("open a socket (has the kernel SCTP?): %w", err))
	}
	f := os.NewFile(uintptr(fd), "sctp") // waits in Go's poller, and with it for ctx
	defer f.Close()
	c, err := f.SyscallConn()
	if err != nil {
		return ours(err)
	}
	if err := d.control("sctp", "", c); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := f.SetDeadline(deadline); err != nil {
			return ours(err)
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return connectSCTP(c, d.sourceAddr(), to)
}

// connectSCTP connects and waits. The kernel tells writers of a change of state
// before there is an association, so that only having a peer means success.
func connectSCTP(c syscall.RawConn, from netip.Addr, to netip.AddrPort) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = beginSCTP(int(fd), from, to) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	e := c.Write(func(fd uintptr) bool {
		var code int
		if code, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		if err != nil {
			return true
		}
		_, peer := unix.Getpeername(int(fd))
		return peer == nil
	})
	return errors.Join(e, err)
}

// beginSCTP begins to connect; the end of the socket is an ABORT, which leaves
// nothing behind.
func beginSCTP(fd int, from netip.Addr, to netip.AddrPort) error {
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	if from.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			return err
		}
	}
	if err := unix.Connect(fd, sockaddr(to)); !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
