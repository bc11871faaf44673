package fullnat

import (
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// tray holds small messages that were read, sockets to close, and servers to
// connect to, until all events of a round are handled. Then one system call
// (ring) makes all connects, and one does the rest: while it does nobody whom it
// wakes takes the CPU away, and that, more than the calls it saves, is what they
// cost less. Where there is no io_uring they are calls one after the other.
type tray struct {
	ring     *ring
	room     [256 << 10]byte
	used     int
	letters  [boxed]letter
	n        int
	closing  [boxed]int32
	closings int
	returned []ref // letters whose write failed
	ends     []ref // sides whose last bytes were sent
	calls    []ref // connections whose servers' sockets are to connect
	calling  []ref // those that do
	targets  [boxed]sockaddr
	answers  [boxed]syscall.Errno
	// noControl: the kernel has no control messages by io_uring, which trains of
	// datagrams need (before Linux 6.5).
	noControl bool
}

const (
	boxed = 256
	// small is the longest message that waits for others.
	small = 4 << 10
)

// letter is a message: the side that it was read from, and its bytes in the
// tray's room.
type letter struct {
	ref
	off, end int32
	sent     int32 // bytes, or a negative errno
	last     bool  // the FIN comes next and shares its segment (MSG_MORE)
}

func (b *tray) full() bool { return b.n == boxed || b.used+small > len(b.room) }

func (l *loop) openRing() {
	if l.engine.plain {
		return
	}
	r, err := newRing(2 * boxed)
	if err != nil {
		if l.id == 0 {
			l.engine.log.Info("system calls are made one by one, which costs more: no io_uring", "err", err)
		}
		return
	}
	l.tray.ring = r
}

func (l *loop) closeRing() {
	if r := l.tray.ring; r != nil {
		l.tray.ring = nil
		r.close()
	}
}

// post puts the first n bytes of scratch into the tray, which is not full. The
// last ones are followed by the side's end.
func (l *loop) post(c *conn, side, n int, last bool) {
	b := &l.tray
	copy(b.room[b.used:], l.scratch[:n])
	b.letters[b.n] = letter{ref: ref{c.index, c.gen, int8(side)}, off: int32(b.used), end: int32(b.used + n), last: last}
	b.n++
	b.used += n
	c.half[1-side].set(owed)
}

// hangUpLater closes a socket for which nothing is in the tray.
func (l *loop) hangUpLater(fd int32) {
	b := &l.tray
	if b.closings == boxed {
		l.deliver()
	}
	b.closing[b.closings] = fd
	b.closings++
}

// handed sends what the tray has for a side, whose socket is to be used in
// another way, and tells whether it takes more.
func (l *loop) handed(d *half) bool {
	if d.is(owed) {
		l.deliver()
	}
	return !d.is(blocked)
}

// deliver sends the letters and closes the sockets. No connection ends by it, so
// it can be called while one is worked at; deliverAll sees to what came back. It
// uses scratch.
func (l *loop) deliver() {
	b := &l.tray
	if b.n+b.closings == 0 {
		return
	}
	l.deliverPlainly(l.deliverByRing())
	letters := b.letters[:b.n]
	b.n, b.used, b.closings = 0, 0, 0
	for i := range letters {
		l.delivered(&letters[i])
	}
}

// deliverByRing returns how many of the letters, then closes, were dealt with.
// A single one is cheaper without a ring.
func (l *loop) deliverByRing() int {
	b := &l.tray
	all := b.n + b.closings
	if b.ring == nil || all < 2 {
		return 0
	}
	for i := range b.letters[:b.n] {
		t := &b.letters[i]
		t.sent = t.end - t.off
		if t.last {
			b.ring.sendMore(l.addressee(t), b.room[t.off:t.end], i)
		} else {
			b.ring.send(l.addressee(t), b.room[t.off:t.end], i)
		}
	}
	for _, fd := range b.closing[:b.closings] {
		b.ring.hangUp(fd)
	}
	did := b.ring.submit(all)
	for {
		i, res, ok := b.ring.result()
		if !ok {
			return did
		}
		b.letters[i].sent = res
	}
}

// deliverPlainly deals with those from the i-th on.
func (l *loop) deliverPlainly(i int) {
	b := &l.tray
	for ; i < b.n; i++ {
		t := &b.letters[i]
		flags := 0
		if t.last {
			flags = unix.MSG_MORE
		}
		n, e := sysSend(l.addressee(t), b.room[t.off:t.end], flags)
		if t.sent = int32(n); e != noErr {
			t.sent = -int32(e)
		}
	}
	for _, fd := range b.closing[i-b.n : b.closings] {
		sysClose(fd)
	}
}

func (l *loop) addressee(t *letter) int32 { return l.conns.at(t.index).half[1-t.side].fd }

// delivered keeps what a socket did not take.
func (l *loop) delivered(t *letter) {
	c := l.conns.at(t.index)
	d := &c.half[1-t.side]
	d.clear(owed)
	switch {
	case t.sent == t.end-t.off:
		if t.last {
			l.tray.ends = append(l.tray.ends, t.ref)
		}
	case t.sent >= 0 || syscall.Errno(-t.sent) == unix.EAGAIN:
		n := copy(l.scratch[:], l.tray.room[t.off+max(t.sent, 0):t.end])
		l.keep(&c.half[t.side], 0, n)
		l.block(c, 1-int(t.side))
	default:
		// Blocked until it is dealt with. Should that be after what is read from d,
		// that must not find a clean end: the error, which the write has taken, is
		// not told twice.
		d.set(blocked | broken)
		l.tray.returned = append(l.tray.returned, t.ref)
	}
}

// deliverAll empties the tray and does what is to be done about connects, letters
// that came back, and ends. Connects come first: whom they connect most often has
// a request to send along with the other letters. Ends come last, as each is a
// call of its own (io_uring has a shutdown, and hands it to a thread), which wakes
// somebody.
func (l *loop) deliverAll() {
	b := &l.tray
	for {
		l.connectAll()
		l.deliver()
		if len(b.returned)+len(b.ends) == 0 {
			return
		}
		l.dealWithReturned()
		l.dealWithEnds()
	}
}

func (l *loop) dealWithReturned() {
	b := &l.tray
	for len(b.returned) > 0 {
		r := b.returned[len(b.returned)-1]
		b.returned = b.returned[:len(b.returned)-1]
		if c := l.conns.at(r.index); c.gen == r.gen && !c.half[client].is(dying) {
			c.half[1-r.side].clear(blocked)
			l.writeFailed(c, int(r.side))
		}
	}
}

func (l *loop) dealWithEnds() {
	b := &l.tray
	for done := 0; done < len(b.ends); { // which may become more
		r := b.ends[done]
		done++
		if c := l.conns.at(r.index); c.gen == r.gen && !c.half[r.side].is(eof) {
			l.ended(c, int(r.side))
		}
	}
	b.ends = b.ends[:0]
}

// connectAll connects the servers' sockets and does what is to be done about it.
func (l *loop) connectAll() {
	b := &l.tray
	for len(b.calls) > 0 { // a refusal leads to more
		b.calling, b.calls = b.calls, b.calling[:0]
		gone := func(r ref) bool { return l.conns.at(r.index).gen != r.gen }
		for calling := slices.DeleteFunc(b.calling, gone); len(calling) > 0; {
			some := calling[:min(len(calling), boxed)]
			calling = calling[len(some):]
			l.connectPlainly(some, l.connectByRing(some))
			for i, r := range some {
				l.dialled(l.conns.at(r.index), b.answers[i])
			}
		}
	}
}

// connectByRing returns how many connects were made.
func (l *loop) connectByRing(calling []ref) int {
	b := &l.tray
	if b.ring == nil || len(calling) < 2 {
		return 0
	}
	for i, r := range calling {
		c := l.conns.at(r.index)
		b.targets[i] = c.at.reaches(c.dst)
		b.ring.connect(c.half[origin].fd, &b.targets[i], i)
		b.answers[i] = unix.EINPROGRESS // if nothing is heard of it
	}
	did := b.ring.submit(len(calling))
	for i, res, ok := b.ring.result(); ok; i, res, ok = b.ring.result() {
		b.answers[i] = syscall.Errno(-res)
	}
	if b.ring.stuck() {
		l.closeRing()
		l.engine.log.Warn("io_uring is not used any more: results are missing")
	}
	return did
}

func (l *loop) connectPlainly(calling []ref, did int) {
	for i, r := range calling[did:] {
		c := l.conns.at(r.index)
		to := c.at.reaches(c.dst)
		l.tray.answers[did+i] = sysConnect(c.half[origin].fd, &to)
	}
}
