package fullnat

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The loops make system calls without telling Go's scheduler (RawSyscall): all
// are non-blocking, and the bookkeeping around a call costs more than many a
// call. Nothing here allocates or lets a pointer escape.

const noErr = syscall.Errno(0)

func sysSocket(family, kind int) (int32, syscall.Errno) {
	fd, _, e := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(family), uintptr(kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), 0)
	return int32(fd), e
}

func sysAccept(fd int32, from *sockaddr) (int32, syscall.Errno) {
	from.len = uint32(unsafe.Sizeof(from.raw))
	r, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&from.raw)),
		uintptr(unsafe.Pointer(&from.len)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int32(r), e
}

func sysBind(fd int32, a *sockaddr) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(a.len))
	return e
}

func sysConnect(fd int32, a *sockaddr) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(a.len))
	return e
}

func sysSockname(fd int32, a *sockaddr) syscall.Errno {
	a.len = uint32(unsafe.Sizeof(a.raw))
	_, _, e := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(unsafe.Pointer(&a.len)))
	return e
}

func sysRecv(fd int32, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// sysPeek is sysRecv that takes nothing.
func sysPeek(fd int32, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_PEEK, 0, 0)
	return int(n), e
}

func sysSend(fd int32, b []byte, flags int) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT), 0, 0)
	return int(n), e
}

func sysSplice(from, to int32, n int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
	return int(r), e
}

func sysShutdownWrite(fd int32) {
	syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

func sysClose(fd int32) { syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func sysSetInt(fd int32, level, option int, v int32) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return e
}

// sysAcknowledge sends an ACK that is held back, and has others go at once.
func sysAcknowledge(fd int32) { sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }

// sysAbort makes the next close send a RST and drop what is queued.
func sysAbort(fd int32) {
	l := unix.Linger{Onoff: 1}
	syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0)
}

// sysUnsent is how many bytes of the send queue have not been on the wire yet.
func sysUnsent(fd int32) int {
	const siocOutqNsd = 0x894b
	return sysQueued(fd, siocOutqNsd)
}

// sysUnacknowledged is how many bytes are in the send queue at all.
func sysUnacknowledged(fd int32) int { return sysQueued(fd, unix.TIOCOUTQ) }

func sysQueued(fd int32, what uintptr) int {
	var n int32
	if _, _, e := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), what, uintptr(unsafe.Pointer(&n))); e != noErr {
		return 0
	}
	return int(n)
}

func sysEpollControl(ep int32, op int, fd int32, events uint32, t token) syscall.Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
	_, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(ep), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}
