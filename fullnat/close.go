package fullnat

import "github.com/goipvs/goipvs/fullnat/sched"

// finish ends a connection of which both sides have sent their FIN, or that is
// over for another reason; the scheduler counts it for a while still.
func (l *loop) finish(c *conn, st sched.State) {
	for i := range c.half {
		h := &c.half[i]
		l.drop(h)
		l.returnPipe(h)
		if h.fd >= 0 {
			l.hangUpLater(h.fd)
		}
	}
	l.forget(c, st)
}

// discard refuses a connection that has no server.
func (l *loop) discard(c *conn) {
	sysAbort(c.half[client].fd)
	l.finish(c, sched.Close)
}

// abortPatience is how many seconds a reset waits for the bytes before it.
const abortPatience = 5

// abort ends a connection with a RST to both sides. A RST overtakes what is in
// the send queue, so it waits until that is on the wire.
func (l *loop) abort(c *conn) {
	l.handed(&c.half[client])
	l.handed(&c.half[origin])
	if !c.half[client].is(dying) && l.unsent(c) {
		for i := range c.half {
			h := &c.half[i]
			l.drop(h)
			l.returnPipe(h)
			h.set(eof | dying)
		}
		c.due = l.sec + abortPatience
		l.aborting = append(l.aborting, ref{index: c.index, gen: c.gen})
		return
	}
	l.reset(c)
}

func (l *loop) unsent(c *conn) bool {
	for i := range c.half {
		if h := &c.half[i]; h.is(up) && !h.is(failed) && sysUnsent(h.fd) > 0 {
			return true
		}
	}
	return false
}

func (l *loop) reset(c *conn) {
	for i := range c.half {
		if fd := c.half[i].fd; fd >= 0 {
			sysAbort(fd)
		}
	}
	l.finish(c, sched.Close)
}

// resetSent resets the aborted connections whose bytes are on the wire.
func (l *loop) resetSent() {
	keep := l.aborting[:0]
	for _, r := range l.aborting {
		c := l.conns.at(r.index)
		switch {
		case c.gen != r.gen:
		case l.unsent(c) && l.sec < c.due:
			keep = append(keep, r)
		default:
			l.reset(c)
		}
	}
	l.aborting = keep
}

// forget gives the connection's place back. What the scheduler counts moves to
// a ghost.
func (l *loop) forget(c *conn, st sched.State) {
	if c.dst != nil {
		c.dst.shares[l.id].live.Add(-1)
	}
	l.wheel.disarm(&l.conns, c.index)
	if c.hold.Server() != nil {
		if c.state != st {
			l.enter(c, st)
		}
		l.haunt(c, st)
	}
	l.returnLocal(c)
	c.svc.live.Add(-1)
	l.leave(c.at)
	l.engine.conns.Add(-1)
	l.released = true
	i := c.index
	*c = conn{gen: c.gen + 1}
	l.conns.put(i)
}
