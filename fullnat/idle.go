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
	case c.half[origin].is(up):
		l.errs.idle.Add(1)
		l.uncount(c)
		l.abort(c)
	default:
		l.hangUp(c)
		l.retry(c)
	}
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
	case !c.half[origin].is(up):
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
// three questions without an answer, or when data is not acknowledged for as
// long.
func keepAlive(fd int32) {
	sysSetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 120)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 20)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 180_000)
}
