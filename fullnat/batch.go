package fullnat

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A batch is datagrams that are received or sent by one system call. Each has
// room for the longest there is, so that none is ever cut off; pages of it that
// no datagram reached cost nothing.
type batch struct {
	msgs  [batchSize]message
	parts [batchSize][2]unix.Iovec // a header, and the datagram
	peers [batchSize]sockaddr
	heads [batchSize][maxHeader]byte
	data  [batchSize][datagramRoom]byte
}

const (
	batchSize = 32
	// datagramRoom is more than 64 KiB so that datagrams do not all begin at the
	// same place of the CPU's caches.
	datagramRoom = 65536 + 192
	longest      = 65535
)

// message is the kernel's struct mmsghdr.
type message struct {
	hdr unix.Msghdr
	n   uint32
	_   uint32
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.msgs {
		b.parts[i][1].Base = &b.data[i][0]
		b.msgs[i].hdr.Iov = &b.parts[i][1]
		b.msgs[i].hdr.SetIovlen(1)
		b.room(i)
	}
	return b
}

// room makes place i ready to receive.
func (b *batch) room(i int) { b.parts[i][1].SetLen(longest) }

// name makes place i tell the peer's address, or with false the socket's peer.
func (b *batch) name(i int, on bool) {
	h := &b.msgs[i].hdr
	h.Name, h.Namelen = nil, 0
	if on {
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&b.peers[i].raw)), uint32(unsafe.Sizeof(b.peers[i].raw))
	}
}

// receive fills places from at on, at most n, and returns how many.
func (b *batch) receive(fd int32, at, n int, named bool) (int, syscall.Errno) {
	for i := at; i < at+n; i++ {
		b.name(i, named)
	}
	r, _, e := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[at])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if e != noErr {
		return 0, e
	}
	for i := at; i < at+int(r); i++ {
		b.peers[i].len = b.msgs[i].hdr.Namelen
		b.parts[i][1].SetLen(int(b.msgs[i].n))
	}
	return int(r), noErr
}

func (b *batch) send(fd int32, at, n int) (int, syscall.Errno) {
	if n == 1 {
		return b.sendOne(fd, at)
	}
	r, _, e := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[at])), uintptr(n), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if e != noErr {
		return 0, e
	}
	return int(r), noErr
}

// sendOne is cheaper for one datagram than a batch of one.
func (b *batch) sendOne(fd int32, at int) (int, syscall.Errno) {
	_, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[at].hdr)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if e != noErr {
		return 0, e
	}
	return 1, noErr
}

// prefix puts n bytes of heads[i] before datagram i; 0 takes them away.
func (b *batch) prefix(i, n int) {
	h := &b.msgs[i].hdr
	if n == 0 {
		h.Iov = &b.parts[i][1]
		h.SetIovlen(1)
		return
	}
	b.parts[i][0].Base = &b.heads[i][0]
	b.parts[i][0].SetLen(n)
	h.Iov = &b.parts[i][0]
	h.SetIovlen(2)
}
