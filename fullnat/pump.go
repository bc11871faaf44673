package fullnat

import "golang.org/x/sys/unix"

// buffer holds what was read from one side and not yet written to the other.
type buffer [64 << 10]byte

const (
	// budget is how many bytes one side may move, and stepBudget in how many
	// steps, before others have a turn.
	budget     = 1 << 20
	stepBudget = 64
	// full reads of at least fullRead bytes in a row, bulkAfter of them, make a
	// stream bulk, which is spliced.
	fullRead  = 32 << 10
	bulkAfter = 8

	maxBuffers = 64
)

// pump moves bytes from one side to the other until there are none, the other
// side takes no more, or the budget is used up. Sockets are edge-triggered, so
// it must not stop before the kernel has said that it is to wait.
func (l *loop) pump(c *conn, side int) {
	h, d := &c.half[side], &c.half[1-side]
	if h.is(heralded) {
		l.herald(c)
		return
	}
	if h.is(eof) || !d.is(up) || d.is(blocked) || h.kept != nil && !l.flush(c, side) {
		return
	}
	l.moved = 0
	for steps := 0; steps < stepBudget && l.moved < budget; steps++ {
		var more bool
		if h.is(splicing) || h.pipe != nil {
			more = l.splice(c, side)
		} else {
			more = l.copy(c, side)
		}
		if !more {
			return
		}
	}
	if !h.is(queued) {
		h.set(queued)
		l.again = append(l.again, ref{c.index, c.gen, int8(side)})
	}
}

// copy moves one buffer and tells whether there may be more to do.
func (l *loop) copy(c *conn, side int) bool {
	h, d := &c.half[side], &c.half[1-side]
	if l.tray.full() {
		l.deliver()
	}
	if !l.handed(d) {
		return false
	}
	n, e := sysRecv(h.fd, l.scratch[:])
	switch {
	case e == unix.EAGAIN:
		h.bulk = 0
		return false
	case e != noErr:
		l.abort(c)
		return false
	case n == 0:
		l.ended(c, side)
		return false
	}
	l.count(c, side, n)
	l.writing(c, side)
	if n <= small && !h.is(failed|urgent) {
		h.bulk = 0
		l.post(c, side, n, h.is(finished))
		return false // less than a buffer: there is no more for now
	}
	flags := 0
	if h.is(finished) && !h.is(failed) {
		flags = unix.MSG_MORE // the FIN, which comes next, shares the segment
	}
	w, e := sysSend(d.fd, l.scratch[:n], flags)
	if e != noErr {
		if e != unix.EAGAIN {
			l.writeFailed(c, side)
			return false
		}
		w = 0
	}
	if w < n {
		l.keep(h, w, n)
		l.block(c, 1-side)
		return false
	}
	return l.afterRead(c, side, n)
}

// afterRead tells what a read of n bytes says of what is left. Less than a
// buffer means that there is no more for now, or if the FIN is known to have
// come, that all is read; but not with urgent data or an error about.
func (l *loop) afterRead(c *conn, side, n int) bool {
	h := &c.half[side]
	if n < len(l.scratch) && !h.is(failed|urgent) {
		h.bulk = 0
		if h.is(finished) {
			l.ended(c, side)
		}
		return false
	}
	if n >= fullRead {
		if h.bulk++; h.bulk >= bulkAfter {
			h.set(splicing)
		}
	}
	return true
}

// writing is told of each write of what was read from a side. It notes who speaks
// first, and switches Nagle's algorithm off with the second write to a server:
// for the first, which most often is the only one, it makes no difference. The
// client's socket has that from its listener.
func (l *loop) writing(c *conn, side int) {
	h, d := &c.half[side], &c.half[1-side]
	switch {
	case !d.is(wrote):
		d.set(wrote)
		if !h.is(wrote) {
			c.svc.speaksFirst(side)
		}
	case side == client && !d.is(noDelay):
		sysSetInt(d.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		d.set(noDelay)
	}
}

func (l *loop) count(c *conn, side, n int) {
	c.last = l.sec
	l.moved += n
	if side == client {
		c.dst.shares[l.id].in(n)
	} else {
		c.dst.shares[l.id].out(n)
	}
}

// keep hands the scratch buffer, with what could not be written, to the side it
// was read from, and takes another one.
func (l *loop) keep(h *half, off, end int) {
	h.kept, h.off, h.end = l.scratch, int32(off), int32(end)
	if n := len(l.buffers); n > 0 {
		l.scratch = l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		return
	}
	l.scratch = new(buffer)
}

// flush writes what is kept and tells whether all of it is gone.
func (l *loop) flush(c *conn, side int) bool {
	h, d := &c.half[side], &c.half[1-side]
	for h.off < h.end {
		n, e := sysSend(d.fd, h.kept[h.off:h.end], 0)
		if e == unix.EAGAIN {
			l.block(c, 1-side)
			return false
		}
		if e != noErr {
			l.writeFailed(c, side)
			return false
		}
		h.off += int32(n)
		c.last = l.sec
	}
	l.drop(h)
	return true
}

func (l *loop) drop(h *half) {
	if h.kept != nil && len(l.buffers) < maxBuffers {
		l.buffers = append(l.buffers, h.kept)
	}
	h.kept = nil
}

// writeFailed: the side that was written to is gone. Nothing can be read for it
// to any purpose; what it sent before is still passed on, then its end is an
// abort.
func (l *loop) writeFailed(c *conn, from int) {
	h, d := &c.half[from], &c.half[1-from]
	l.drop(h)
	l.returnPipe(h)
	if d.is(eof) {
		l.abort(c)
		return
	}
	h.set(eof)
	d.set(failed | broken)
	l.pump(c, 1-from)
}
