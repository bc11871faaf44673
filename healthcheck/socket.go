package healthcheck

import (
	"encoding/binary"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The connector's system calls are made without telling Go's scheduler
// (RawSyscall): none of them waits for anything, and for each that it is told of
// the scheduler has a thread look whether it has to step in, which costs more
// than the call.

// tcpSocket is a TCP socket of a [connector], used for one connection after another.
type tcpSocket struct {
	fd      int32
	family  uint16
	bound   bool // to the source address of one target
	watched bool // epoll knows it
}

func newTCPSocket(family uint16) (*tcpSocket, error) {
	fd, _, e := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if e != 0 {
		return nil, os.NewSyscallError("socket", e)
	}
	return &tcpSocket{fd: int32(fd), family: family}, nil
}

// connect begins to connect.
func (s *tcpSocket) connect(to netip.AddrPort) error {
	if e := s.call(unix.SYS_CONNECT, to); e != unix.EINPROGRESS && e != 0 {
		return os.NewSyscallError("connect", e)
	}
	return nil
}

func (s *tcpSocket) bind(from netip.Addr) error {
	s.bound = true
	if e := s.call(unix.SYS_BIND, netip.AddrPortFrom(from, 0)); e != 0 {
		return os.NewSyscallError("bind", e)
	}
	return nil
}

func (s *tcpSocket) call(trap uintptr, a netip.AddrPort) unix.Errno {
	port := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(make([]byte, 0, 2), a.Port()))
	if s.family == unix.AF_INET {
		raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.Addr().As4()}
		_, _, e := unix.RawSyscall(trap, uintptr(s.fd), uintptr(unsafe.Pointer(&raw)), unix.SizeofSockaddrInet4)
		return e
	}
	raw := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16()}
	_, _, e := unix.RawSyscall(trap, uintptr(s.fd), uintptr(unsafe.Pointer(&raw)), unix.SizeofSockaddrInet6)
	return e
}

// reset ends a connection as closing it with SO_LINGER of nothing would, with a
// reset that leaves no port in TIME-WAIT, and leaves the socket as new
// (connect(2), AF_UNSPEC; tcp_disconnect).
func (s *tcpSocket) reset() bool {
	raw := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(s.fd), uintptr(unsafe.Pointer(&raw)), unsafe.Sizeof(raw))
	return e == 0
}

// watch has epoll tell once that something has become of the connection.
func (s *tcpSocket) watch(poll int, number int32) error {
	op := unix.EPOLL_CTL_ADD
	if s.watched {
		op = unix.EPOLL_CTL_MOD
	}
	event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: s.fd, Pad: number}
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(poll), uintptr(op), uintptr(s.fd), uintptr(unsafe.Pointer(&event)), 0, 0)
	if e != 0 {
		return os.NewSyscallError("epoll_ctl", e)
	}
	s.watched = true
	return nil
}

func (s *tcpSocket) close() { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(s.fd), 0, 0) }

// pollNow looks at files without waiting. Interrupted, it has seen nothing.
func pollNow(fds []unix.PollFd) {
	var now unix.Timespec
	_, _, e := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	if e != 0 {
		for i := range fds {
			fds[i].Revents = 0
		}
	}
}

// epollNow takes events without waiting.
func epollNow(poll int, events []unix.EpollEvent) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
