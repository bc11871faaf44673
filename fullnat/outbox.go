package fullnat

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An outbox is datagrams that are sent by one system call. Those of one flow
// that follow each other and are of one size, the last may be shorter, are a
// train: one message, which goes through the kernel as one packet and is taken
// apart (UDP_SEGMENT) at the latest where it leaves the machine. Who receives
// them cannot tell.
type outbox struct {
	msgs  [batchSize]message
	items [batchSize]item
	marks [batchSize]mark
	peers [batchSize]sockaddr
	vecs  [2 * batchSize]unix.Iovec // for each datagram one, and one for its header
	n     int
	used  int // vecs
}

// item is what the outbox knows of a message.
type item struct {
	at       cursor // of its first datagram
	flow     ref
	count    int32 // datagrams
	each     int32 // bytes of each but the last
	bytes    int32 // without headers
	total    int32
	vec      int32 // the first
	complete bool  // its last datagram is shorter
}

const (
	// maxTrain is how many datagrams the kernel takes as one.
	maxTrain = 64
	// maxTrainBytes is how many bytes, with room for any header of IP.
	maxTrainBytes = 65000
)

func (o *outbox) clear() { o.n, o.used = 0, 0 }

// full tells whether there may be no room for one more datagram.
func (o *outbox) full() bool { return o.n == len(o.msgs) || o.used+2 > len(o.vecs) }

// add puts one more datagram behind the others, to the socket's peer or with to
// to another one. It may become part of a train if it is no longer than limit.
func (o *outbox) add(f *flow, at cursor, head, data []byte, to *sockaddr, limit uint16) {
	size := int32(len(head) + len(data))
	if !o.couple(f, size, int32(limit)) {
		it := &o.items[o.n]
		*it = item{at: at, flow: ref{index: f.index, gen: f.gen}, each: size, vec: int32(o.used)}
		h := &o.msgs[o.n].hdr
		*h = unix.Msghdr{Iov: &o.vecs[o.used]}
		if to != nil {
			o.peers[o.n] = *to
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&o.peers[o.n].raw)), to.len
		}
		o.n++
	}
	it := &o.items[o.n-1]
	it.count++
	it.bytes += int32(len(data))
	it.total += size
	it.complete = size < it.each || size == 0
	if len(head) > 0 {
		o.vec(head)
	}
	if len(head) == 0 || len(data) > 0 {
		o.vec(data)
	}
	o.msgs[o.n-1].hdr.SetIovlen(o.used - int(it.vec))
}

func (o *outbox) vec(b []byte) {
	o.vecs[o.used].Base = unsafe.SliceData(b)
	o.vecs[o.used].SetLen(len(b))
	o.used++
}

// couple makes the last message a train, or a longer one, if the next datagram
// may be part of it.
func (o *outbox) couple(f *flow, size, limit int32) bool {
	if o.n == 0 || size == 0 {
		return false
	}
	it := &o.items[o.n-1]
	if it.complete || size > it.each || it.each > limit || it.count == maxTrain || it.total+size > maxTrainBytes ||
		it.flow.index != f.index || it.flow.gen != f.gen {
		return false
	}
	if it.count == 1 {
		m := &o.marks[o.n-1]
		m.hdr.Level, m.hdr.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		m.hdr.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(m.size[:], uint16(it.each))
		h := &o.msgs[o.n-1].hdr
		h.Control = (*byte)(unsafe.Pointer(m))
		h.SetControllen(unix.CmsgSpace(2))
	}
	return true
}

// first is the first datagram of message i, which has no header.
func (o *outbox) first(i int) []byte {
	v := &o.vecs[o.items[i].vec]
	return unsafe.Slice(v.Base, v.Len)
}

// send sends messages from i on and returns how many it has sent.
func (o *outbox) send(fd int32, i int) (int, syscall.Errno) {
	if i+1 == o.n { // cheaper than a batch of one
		if e := o.sendOne(fd, i); e != noErr {
			return 0, e
		}
		return 1, noErr
	}
	r, _, e := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.msgs[i])), uintptr(o.n-i), sendFlags, 0, 0)
	if e != noErr {
		return 0, e
	}
	return int(r), noErr
}

func (o *outbox) sendOne(fd int32, i int) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.msgs[i].hdr)), sendFlags)
	return e
}

// sendApart sends the datagrams of train i, which have no headers, one by one,
// and returns how many the socket has not taken.
func (o *outbox) sendApart(fd int32, i int) (lost uint64) {
	it := &o.items[i]
	h := &o.msgs[i].hdr
	h.Control = nil
	h.SetControllen(0)
	h.SetIovlen(1)
	for k := range it.count {
		h.Iov = &o.vecs[it.vec+k]
		if _, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), sendFlags); e != noErr {
			lost++
		}
	}
	return lost
}

// refusesTrain tells whether the kernel may take the datagrams of a train one by
// one: they need fragments, or the way does not allow for trains.
func refusesTrain(e syscall.Errno) bool {
	return e == unix.EMSGSIZE || e == unix.EINVAL || e == unix.EIO || e == unix.EOPNOTSUPP
}

// narrower is the limit for the datagrams of trains after one was refused.
func (it *item) narrower(e syscall.Errno) uint16 {
	if e == unix.EMSGSIZE || e == unix.EINVAL {
		return uint16(it.each - 1)
	}
	return 0
}

// takeTrains has a socket take what the kernel has put together of a sender's
// datagrams as one.
func (e *Engine) takeTrains(fd int32) {
	if e.trains > 0 {
		_ = sysSetInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) // Linux 5.0 has it
	}
}

// hasTrains tells whether the kernel takes trains (Linux 4.18). One that does
// not know them would send a train as one datagram.
func hasTrains() bool {
	fd, e := sysSocket(unix.AF_INET, unix.SOCK_DGRAM)
	if e != noErr {
		return false
	}
	defer sysClose(fd)
	_, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
	return err == nil
}
