package fullnat

import (
	"github.com/goipvs/goipvs/fullnat/sched"
	"golang.org/x/sys/unix"
)

// expired is called when a connection's timer may be due.
func (l *loop) expired(i int32) {
	c := l.conns.at(i)
	switch ends := l.deadline(c); {
	case ends > l.sec:
		l.wheel.arm(&l.conns, i, ends)
		l.guard(c)
	case c.half[client].is(heralded):
		l.heraldMissing(c)
	case c.half[origin].is(up) && c.drained():
		c.last = l.sec
		l.wheel.arm(&l.conns, i, l.deadline(c))
	case c.half[origin].is(up):
		l.errs.idle.Add(1)
		l.uncount(c)
		l.abort(c)
	default:
		l.hangUp(c)
		l.retry(c)
	}
}

// drained tells whether a peer has acknowledged something since it was last
// asked: who reads slowly, out of buffers of megabytes, lets nothing be written
// for longer than the timeout, and packets pass all the same.
func (c *conn) drained() bool {
	moved := false
	for i := range c.half {
		h := &c.half[i]
		if n := int32(sysUnacknowledged(h.fd)); n != h.backlog {
			h.backlog, moved = n, true
		}
	}
	return moved
}

// uncount ends the scheduler's count of a connection that idled out: the kernel's
// entry goes with its timer, and no ghost stays behind.
func (l *loop) uncount(c *conn) {
	c.svc.mu.Lock()
	c.svc.sched.End(l.now, &c.hold)
	c.svc.mu.Unlock()
}

// deadline is the second at which the connection ends if nothing happens.
func (l *loop) deadline(c *conn) uint32 {
	switch {
	case !c.half[origin].is(up) || c.half[client].is(heralded):
		return c.due
	case c.state == sched.Established:
		return c.last + l.engine.idle.tcp.Load()
	}
	return c.last + l.engine.idle.fin.Load()
}

// rearm brings a timer forward that is later than the deadline.
func (l *loop) rearm(c *conn) {
	if ends := l.deadline(c); c.timer.armed && c.timer.at > ends {
		l.wheel.arm(&l.conns, c.index, ends)
	}
}

// guard has the kernel notice that the server's machine is gone. The client's
// socket has that from its listener; here it is set on connections that live
// longer than a handshake may take, so that short ones do not pay.
func (l *loop) guard(c *conn) {
	h := &c.half[origin]
	if h.is(up) && !h.is(guarded) {
		h.set(guarded)
		keepAlive(h.fd)
	}
}

// keepAlive: a peer that is silent for two minutes is asked, and is dead after
// three questions without an answer. Not so by TCP_USER_TIMEOUT: that also ends
// the connection of a client who is there and has stopped reading for a while.
// Data that a dead peer does not acknowledge ends with the idle timeout.
func keepAlive(fd int32) {
	sysSetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, silence.before)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, silence.between)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, silence.questions)
}

// silence is in seconds, and shorter in tests.
var silence = struct{ before, between, questions int32 }{120, 20, 3}
