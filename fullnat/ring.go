package fullnat

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is an io_uring by which a loop has the kernel do many small things in
// one system call. It holds nothing that waits: all that was added is done when
// submit has returned and all results are taken. What was sent as it should
// leaves none.
type ring struct {
	fd      int32
	tail    uint32 // of entries, ours
	calling int    // connects without a result
	sqTail  *uint32
	sqMask  uint32
	cqHead  *uint32
	cqTail  *uint32
	cqMask  uint32
	entries []ringEntry
	results []ringResult
	mapped  [2][]byte
}

// ringEntry is struct io_uring_sqe.
type ringEntry struct {
	op, flags uint8
	_         uint16
	fd        int32
	to        uint64 // an address, or how long one is
	addr      uint64
	len       uint32
	opFlags   uint32
	name      uint64
	_         uint32
	toLen     uint16
	_         uint16
	_         [2]uint64
}

// ringResult is struct io_uring_cqe.
type ringResult struct {
	name  uint64
	res   int32
	flags uint32
}

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sq                                                   struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// Of include/uapi/linux/io_uring.h.
const (
	ringSubmitAll    = 1 << 7 // a failed entry does not keep back those behind it
	ringSingleIssuer = 1 << 12
	ringDeferTaskRun = 1 << 13
	ringOffEntries   = 0x10000000

	ringSendMessage    = 9
	ringReceiveMessage = 10
	ringCancel         = 14
	ringConnect        = 16
	ringClose          = 19
	ringSend           = 26

	ringSkipSuccess = 1 << 6
	ringCancelAll   = 1<<0 | 1<<2 // all there are, whatever they are
	ringGetEvents   = 1 << 0
)

// newRing makes a ring for n entries. Only the thread that made it may use it.
// It fails before Linux 6.1, and where io_uring is forbidden.
func newRing(n uint32) (*ring, error) {
	p := ringParams{flags: ringSubmitAll | ringSingleIssuer | ringDeferTaskRun}
	fd, _, e := syscall.Syscall(unix.SYS_IO_URING_SETUP, uintptr(n), uintptr(unsafe.Pointer(&p)), 0)
	if e != noErr {
		return nil, e
	}
	r := &ring{fd: int32(fd)}
	queues := max(p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(ringResult{})), p.sq.array+p.sqEntries*4)
	for i, m := range [...]struct{ at, size uint32 }{{0, queues}, {ringOffEntries, p.sqEntries * uint32(unsafe.Sizeof(ringEntry{}))}} {
		var err error
		if r.mapped[i], err = unix.Mmap(int(fd), int64(m.at), int(m.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
			r.close()
			return nil, err
		}
	}
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.mapped[0][at])) }
	r.sqTail, r.sqMask = word(p.sq.tail), *word(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.mask)
	r.entries = unsafe.Slice((*ringEntry)(unsafe.Pointer(&r.mapped[1][0])), p.sqEntries)
	r.results = unsafe.Slice((*ringResult)(unsafe.Pointer(&r.mapped[0][p.cq.cqes])), p.cqEntries)
	for i, order := uint32(0), unsafe.Slice(word(p.sq.array), p.sqEntries); i < p.sqEntries; i++ {
		order[i] = i // entries are taken as they lie
	}
	return r, nil
}

func (r *ring) close() {
	for _, m := range r.mapped {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	sysClose(r.fd)
}

func (r *ring) add(e ringEntry) {
	r.entries[r.tail&r.sqMask] = e
	r.tail++
}

const sendFlags = unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT

// send adds a write of all of b that does not wait. What it writes less leaves a
// result with the name.
func (r *ring) send(fd int32, b []byte, name int) { r.write(fd, b, 0, name) }

// sendMore is send for what waits for more to share a segment with.
func (r *ring) sendMore(fd int32, b []byte, name int) { r.write(fd, b, unix.MSG_MORE, name) }

func (r *ring) write(fd int32, b []byte, flags uint32, name int) {
	r.add(ringEntry{op: ringSend, flags: ringSkipSuccess, fd: fd, addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), len: uint32(len(b)),
		opFlags: sendFlags | unix.MSG_WAITALL | flags, name: uint64(name)})
}

// sendTo adds a sendto that does not wait. An error leaves a result with the
// name.
func (r *ring) sendTo(fd int32, b []byte, to *sockaddr, name int) {
	r.add(ringEntry{op: ringSend, flags: ringSkipSuccess, fd: fd, addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), len: uint32(len(b)),
		to: uint64(uintptr(unsafe.Pointer(&to.raw))), toLen: uint16(to.len), opFlags: sendFlags, name: uint64(name)})
}

// sendMessage adds a sendmsg that does not wait. An error leaves a result with
// the name.
func (r *ring) sendMessage(fd int32, h *unix.Msghdr, name int) {
	r.add(ringEntry{op: ringSendMessage, flags: ringSkipSuccess, fd: fd, addr: uint64(uintptr(unsafe.Pointer(h))), len: 1, opFlags: sendFlags, name: uint64(name)})
}

// receiveMessage adds a recvmsg that does not wait. Its result has the name.
func (r *ring) receiveMessage(fd int32, h *unix.Msghdr, name int) {
	r.add(ringEntry{op: ringReceiveMessage, fd: fd, addr: uint64(uintptr(unsafe.Pointer(h))), len: 1, opFlags: unix.MSG_DONTWAIT, name: uint64(name)})
}

// hangUp adds a close.
func (r *ring) hangUp(fd int32) {
	r.add(ringEntry{op: ringClose, flags: ringSkipSuccess, fd: fd, name: nameless})
}

// connect adds a connect, behind everything else. It leaves a result in any
// case: -EINPROGRESS if it goes on.
func (r *ring) connect(fd int32, to *sockaddr, name int) {
	r.add(ringEntry{op: ringConnect, fd: fd, addr: uint64(uintptr(unsafe.Pointer(&to.raw))), to: uint64(to.len), name: ringCall | uint64(name)})
	r.calling++
}

// Names of entries are 32 bits; those above are ours.
const (
	nameless = 1 << 32 // the result says nothing
	ringCall = 1 << 33 // it is of a connect
)

// submit has the kernel do the last n entries and returns how many it did, in
// their order, which is all of them unless it has no memory or a filter forbids
// the call. The rest is forgotten.
func (r *ring) submit(n int) int {
	if r.calling == 0 {
		return r.enter(n, 0)
	}
	did := min(r.stopWaiting(n), n)
	r.calling -= min(n-did, r.calling)
	return did
}

// stopWaiting submits n entries and one that calls off all that wait, and takes
// in what has come of them. A connect does not end by it: the socket goes on
// connecting, only that nobody is told of its end by the ring.
func (r *ring) stopWaiting(n int) int {
	r.add(ringEntry{op: ringCancel, flags: ringSkipSuccess, fd: -1, opFlags: ringCancelAll, name: nameless})
	return r.enter(n+1, ringGetEvents)
}

// enter has the kernel do the last n entries and returns how many it did.
func (r *ring) enter(n int, flags uintptr) int {
	atomic.StoreUint32(r.sqTail, r.tail)
	did, _, e := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 0, flags, 0, 0)
	if e != noErr {
		did = 0
	}
	r.tail -= uint32(n) - uint32(did)
	atomic.StoreUint32(r.sqTail, r.tail)
	return int(did)
}

// result takes a result: the name of an entry and the bytes that it moved, or
// an error as a negative number. A call takes in some twenty connects at most
// (since Linux 6.13), so it is repeated until there is a result for each. Should
// the kernel owe some for long, stuck tells.
func (r *ring) result() (name int, res int32, ok bool) {
	for range ringTries {
		for head := *r.cqHead; head != atomic.LoadUint32(r.cqTail); head++ {
			x := r.results[head&r.cqMask]
			atomic.StoreUint32(r.cqHead, head+1)
			if x.name == nameless {
				continue
			}
			if x.name&ringCall != 0 {
				r.calling--
				if x.res == -int32(unix.ECANCELED) {
					x.res = -int32(unix.EINPROGRESS)
				}
			}
			return int(uint32(x.name)), x.res, true
		}
		if !r.stuck() {
			return 0, 0, false
		}
		r.stopWaiting(0)
	}
	return 0, 0, false
}

// stuck tells whether there are connects whose results have not come. Such a ring
// is to be closed: they may come later.
func (r *ring) stuck() bool { return r.calling > 0 }

// ringTries is how often the kernel is asked in vain for the next result of a
// connect: a millisecond or so.
const ringTries = 1000
