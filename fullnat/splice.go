package fullnat

import "golang.org/x/sys/unix"

// pipe holds bytes on their way between two sockets without a copy.
type pipe struct {
	r, w int32
	n    int // bytes in it
}

const (
	pipeSize = 1 << 20
	maxPipes = 32 // that a loop keeps for later
)

// splice moves bytes of a bulk stream through a pipe, as copy does through a
// buffer. The pipe is borrowed while bytes flow.
func (l *loop) splice(c *conn, side int) bool {
	h, d := &c.half[side], &c.half[1-side]
	if !l.handed(d) {
		return false
	}
	if h.pipe == nil && !l.borrowPipe(h) {
		h.clear(splicing)
		return true
	}
	if p := h.pipe; p.n == 0 {
		n, e := sysSplice(h.fd, p.w, pipeSize)
		switch {
		case e == unix.EAGAIN:
			l.endBulk(h)
			return h.is(urgent) // which a splice does not pass: a read does
		case e != noErr:
			l.abort(c)
			return false
		case n == 0: // the end, or urgent data before it: a read tells
			l.endBulk(h)
			return true
		}
		p.n = n
		l.count(c, side, n)
		l.writing(c, side)
	}
	n, e := sysSplice(h.pipe.r, d.fd, h.pipe.n)
	switch {
	case e == unix.EAGAIN:
		l.block(c, 1-side)
		return false
	case e != noErr:
		l.writeFailed(c, side)
		return false
	}
	h.pipe.n -= n
	c.last = l.sec
	return true // less than all was taken: that need not mean that d is full, so only EAGAIN counts
}

// endBulk has a side go on with copies.
func (l *loop) endBulk(h *half) {
	l.returnPipe(h)
	h.clear(splicing)
	h.bulk = 0
}

func (l *loop) borrowPipe(h *half) bool {
	if n := len(l.pipes); n > 0 {
		h.pipe = l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
		return true
	}
	var p [2]int
	if unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return false
	}
	// Beyond the user's share of pipe memory it stays at 64 KiB, and works.
	_, _ = unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, pipeSize)
	h.pipe = &pipe{r: int32(p[0]), w: int32(p[1])}
	return true
}

// returnPipe takes the pipe from a side: back to the others if it is empty.
func (l *loop) returnPipe(h *half) {
	p := h.pipe
	if p == nil {
		return
	}
	h.pipe = nil
	if p.n == 0 && len(l.pipes) < maxPipes {
		l.pipes = append(l.pipes, p)
		return
	}
	sysClose(p.r)
	sysClose(p.w)
}
