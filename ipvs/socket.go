package ipvs

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// transport carries bytes to the kernel and its answers back. The tests have
// one that plays a kernel which answers badly.
type transport interface {
	// send hands messages to the kernel, which has carried out all of them and
	// queued its answers when send returns (netlink_unicast_kernel).
	send(b []byte) error
	// recv reads the datagrams that are there without waiting, at most
	// len(lengths), each into its own size bytes of buf. A length above size is
	// that of a datagram that was cut. EAGAIN: there is none; ENOBUFS: the
	// kernel has dropped some.
	recv(buf []byte, size int, lengths []int) (int, error)
	// widen asks for a receive buffer of size bytes and returns what there is.
	widen(size int) int
	close()
}

// maxDatagrams is how many one system call reads.
const maxDatagrams = 64

// socket is the kernel's transport: a generic netlink socket read by recvmmsg,
// because a dump's data and its end are two datagrams. One user at a time.
//
// It is opened by system calls of our own, not by netlink/nl, whose sockets are
// files of the runtime's poller: that is a dozen system calls and package net at
// the start of a command that makes four. Nothing here ever waits for a socket.
type socket struct {
	fd   int
	solo bool // Options.Alone
	msgs [maxDatagrams]mmsghdr
	iovs [maxDatagrams]unix.Iovec
	from [maxDatagrams]unix.RawSockaddrNetlink
}

// mmsghdr is struct mmsghdr; Go pads it to the alignment of Msghdr, as C does.
type mmsghdr struct {
	hdr    unix.Msghdr
	length uint32
}

// open opens a socket in the namespace of the calling thread.
func open(alone bool) (transport, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// Error replies without a copy of the request (4.3), with the kernel's own
	// words (4.12). Older kernels refuse, and lose nothing but that.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return &socket{fd: fd, solo: alone}, nil
}

// send needs no address: a netlink socket that is not connected talks to the
// kernel, and is bound when it first sends (netlink_sendmsg).
func (s *socket) send(b []byte) error {
	for {
		err := s.write(b)
		if err != unix.EINTR {
			return err
		}
	}
}

// write hands a request for a listing over without telling Go's scheduler, as
// recv does: it is over in microseconds, and with a system call for each service
// to make, the scheduler's part in them costs more than the calls. What changes
// something may make the kernel load a module, and is an ordinary call unless
// nobody is there to be kept waiting.
func (s *socket) write(b []byte) error {
	if !s.solo && !isDump(b) {
		_, err := unix.Write(s.fd, b)
		return err
	}
	_, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if e != 0 {
		return e
	}
	return nil
}

// isDump looks at the flags of the first message (struct nlmsghdr).
func isDump(b []byte) bool {
	return len(b) >= unix.NLMSG_HDRLEN && binary.NativeEndian.Uint16(b[6:])&unix.NLM_F_DUMP == unix.NLM_F_DUMP
}

func (s *socket) recv(buf []byte, size int, lengths []int) (int, error) {
	n := min(len(lengths), len(buf)/size, maxDatagrams)
	for i := range n {
		s.iovs[i].Base = &buf[i*size]
		s.iovs[i].SetLen(size)
		h := &s.msgs[i].hdr
		h.Iov = &s.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&s.from[i]))
		h.Namelen = unix.SizeofSockaddrNetlink
		h.Flags = 0
	}
	// MSG_TRUNC: report the whole length of what did not fit.
	r, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs[0])), uintptr(n),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if e != 0 {
		return 0, e
	}
	for i := range int(r) {
		lengths[i] = int(s.msgs[i].length)
		if s.from[i].Pid != 0 { // not the kernel
			lengths[i] = 0
		}
	}
	return int(r), nil
}

func (s *socket) widen(size int) int {
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil { // needs CAP_NET_ADMIN in the first user namespace
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	}
	n, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0
	}
	return n
}

func (s *socket) close() { _ = unix.Close(s.fd) }
