package fullnat

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// tray holds small messages that were read, and sockets to close, until all
// events of a round are handled. Then one system call (ring) does it all: while
// it does nobody whom it wakes takes the CPU away, and that, more than the calls
// it saves, is what a request and a close cost less. Where there is no io_uring
// they are calls one after the other.
type tray struct {
	ring     *ring
	room     [256 << 10]byte
	used     int
	letters  [boxed]letter
	n        int
	closing  [boxed]int32
	closings int
	returned []ref // letters whose write failed
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

// post puts the first n bytes of scratch into the tray, which is not full.
func (l *loop) post(c *conn, side, n int) {
	b := &l.tray
	copy(b.room[b.used:], l.scratch[:n])
	b.letters[b.n] = letter{ref: ref{c.index, c.gen, int8(side)}, off: int32(b.used), end: int32(b.used + n)}
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

// deliver empties the tray. No connection ends by it, so it can be called
// while one is worked at; deliverAll sees to what came back. It uses scratch.
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
		b.ring.send(l.addressee(t), b.room[t.off:t.end], i)
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
		n, e := sysSend(l.addressee(t), b.room[t.off:t.end], 0)
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
	case t.sent >= 0 || syscall.Errno(-t.sent) == unix.EAGAIN:
		n := copy(l.scratch[:], l.tray.room[t.off+max(t.sent, 0):t.end])
		l.keep(&c.half[t.side], 0, n)
		l.block(c, 1-int(t.side))
	default:
		d.set(blocked) // until it is dealt with
		l.tray.returned = append(l.tray.returned, t.ref)
	}
}

// deliverAll empties the tray and does what is to be done about writes that
// failed.
func (l *loop) deliverAll() {
	b := &l.tray
	for l.deliver(); len(b.returned) > 0; l.deliver() {
		r := b.returned[len(b.returned)-1]
		b.returned = b.returned[:len(b.returned)-1]
		if c := l.conns.at(r.index); c.gen == r.gen && !c.half[client].is(dying) {
			c.half[1-r.side].clear(blocked)
			l.writeFailed(c, int(r.side))
		}
	}
}
