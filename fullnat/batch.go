package fullnat

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A batch is datagrams that are received by one system call, in places, and sent
// on by another. Each place has room for the longest there is, so that none is
// ever cut off; pages of it that no datagram reached cost nothing. Where the
// kernel has put datagrams of one sender together (UDP_GRO), a place holds
// several of them, a train.
type batch struct {
	msgs     [batchSize]message
	rooms    [batchSize]unix.Iovec
	peers    [batchSize]sockaddr // who sent them, if the batch is named
	owners   [batchSize]ref      // sessions that receive into the places, by io_uring
	controls [batchSize]control
	size     [batchSize]int32 // bytes
	each     [batchSize]int32 // bytes of each datagram of a train but the last
	next     [batchSize]int32 // the next place of the same session
	runs     [batchSize]run
	run      int32 // how many there are
	out      outbox
	header   [maxHeader]byte // of the session that out is for
	data     [batchSize][datagramRoom]byte
}

const (
	batchSize = 128
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

// control has the control messages of what was received: the size of a train's
// datagrams, and, of a diverted service, what the client addressed.
type control struct {
	_    [0]uint64 // aligned as the kernel's struct cmsghdr
	room [96]byte
	n    int
}

// mark is a control message with the size of a train's datagrams.
type mark struct {
	hdr  unix.Cmsghdr
	size [8]byte
}

func newBatch(named bool) *batch {
	b := new(batch)
	for i := range b.msgs {
		b.rooms[i].Base = &b.data[i][0]
		b.rooms[i].SetLen(longest)
		h := &b.msgs[i].hdr
		h.Iov = &b.rooms[i]
		h.SetIovlen(1)
		h.Control = &b.controls[i].room[0]
		if named {
			h.Name = (*byte)(unsafe.Pointer(&b.peers[i].raw))
		}
		b.ready(i)
	}
	return b
}

// ready undoes what receiving changes in place i.
func (b *batch) ready(i int) {
	h := &b.msgs[i].hdr
	h.SetControllen(len(b.controls[i].room))
	if h.Name != nil {
		h.Namelen = uint32(unsafe.Sizeof(b.peers[i].raw))
	}
}

// receive fills places from at on, at most n, and returns how many.
func (b *batch) receive(fd int32, at, n int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[at])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if e != noErr {
		return 0, e
	}
	for i := at; i < at+int(r); i++ {
		b.filled(i)
	}
	return int(r), noErr
}

// filled takes note of what came into place i.
func (b *batch) filled(i int) {
	m := &b.msgs[i]
	b.size[i] = int32(m.n)
	b.each[i] = b.size[i]
	if b.controls[i].n = int(m.hdr.Controllen); b.controls[i].n > 0 {
		b.each[i] = b.controls[i].train(b.size[i])
	}
	if m.hdr.Name != nil {
		b.peers[i].len = m.hdr.Namelen
		b.peers[i].plain()
	}
	b.ready(i)
}

// find is the content of a control message; nil: there is none.
func (c *control) find(level, kind int32) []byte {
	for at := 0; at+unix.SizeofCmsghdr <= c.n; {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c.room[at]))
		end := at + int(h.Len)
		if end > c.n || int(h.Len) < unix.SizeofCmsghdr {
			return nil
		}
		if h.Level == level && h.Type == kind {
			return c.room[at+unix.CmsgLen(0) : end]
		}
		at = (end + 7) &^ 7
	}
	return nil
}

// train is the size of the datagrams in a place of so many bytes.
func (c *control) train(size int32) int32 {
	if b := c.find(unix.SOL_UDP, unix.UDP_GRO); len(b) >= 4 {
		if n := *(*int32)(unsafe.Pointer(&b[0])); n > 0 && n < size {
			return n
		}
	}
	return size
}

// destination is what the client addressed.
func (c *control) destination() (to sockaddr, ok bool) {
	if b := c.find(unix.SOL_IP, unix.IP_ORIGDSTADDR); len(b) >= unix.SizeofSockaddrInet4 {
		*to.v4() = *(*unix.RawSockaddrInet4)(unsafe.Pointer(&b[0]))
		to.len = unix.SizeofSockaddrInet4
		to.plain()
		return to, true
	}
	if b := c.find(unix.SOL_IPV6, unix.IPV6_ORIGDSTADDR); len(b) >= unix.SizeofSockaddrInet6 {
		to.raw = *(*unix.RawSockaddrInet6)(unsafe.Pointer(&b[0]))
		to.len = unix.SizeofSockaddrInet6
		to.plain()
		return to, true
	}
	return to, false
}

// cursor is a datagram of a batch: a place, and where in it.
type cursor struct {
	place int32
	off   int32
}

// theEnd is behind the last datagram of a run.
var theEnd = cursor{place: -1}

// run is what a batch has of one session: its places, from the first by next to
// the last.
type run struct {
	flow        ref
	first, last int32
	sent        bool
	err         syscall.Errno // of an attempt to send the first datagram
}

// datagram is the one at a cursor, and the cursor of the next.
func (b *batch) datagram(c cursor) ([]byte, cursor) {
	size, each := b.size[c.place], b.each[c.place]
	if end := c.off + each; end < size {
		return b.data[c.place][c.off:end], cursor{c.place, end}
	}
	return b.data[c.place][c.off:size], cursor{place: b.next[c.place]}
}

// count is how many datagrams there are between two cursors.
func (b *batch) count(at, end cursor) (n uint64) {
	for at != end {
		_, at = b.datagram(at)
		n++
	}
	return n
}

// begin makes a run of a place.
func (b *batch) begin(f *flow, i int32) {
	b.next[i] = theEnd.place
	b.runs[b.run] = run{flow: ref{index: f.index, gen: f.gen}, first: i, last: i}
	b.run++
}

// append puts a place behind the others of run k.
func (b *batch) append(k, i int32) {
	b.next[i] = theEnd.place
	b.next[b.runs[k].last] = i
	b.runs[k].last = i
}

// alone is the datagram of a run that has no other one.
func (b *batch) alone(r *run) ([]byte, bool) {
	size := b.size[r.first]
	return b.data[r.first][:size], r.first == r.last && b.each[r.first] == size && size > 0
}

// train puts a run behind what the outbox has, if it makes one message, and
// returns its place there.
func (b *batch) train(r *run, f *flow) (i int, ok bool) {
	o := &b.out
	n, used := o.n, o.used
	for at := (cursor{place: r.first}); at != theEnd && o.n <= n+1 && !o.full(); {
		data, next := b.datagram(at)
		o.add(f, at, nil, data, nil, f.limits[origin])
		if at = next; at == theEnd && o.n == n+1 {
			return n, true
		}
	}
	o.n, o.used = n, used
	return 0, false
}

// weigh counts the datagrams and bytes of a run.
func (b *batch) weigh(r *run) (n, bytes uint64) {
	for at := (cursor{place: r.first}); at != theEnd; n++ {
		var data []byte
		data, at = b.datagram(at)
		bytes += uint64(len(data))
	}
	return n, bytes
}
