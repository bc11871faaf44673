package fullnat

import (
	"syscall"

	"github.com/goipvs/goipvs/fullnat/sched"
	"golang.org/x/sys/unix"
)

// conn is one proxied TCP connection: a socket to the client and one to the
// server. A loop's conns lie in its slab; only that loop touches them.
type conn struct {
	half [2]half

	svc  *service
	at   *virtual // what the client addressed
	dst  *server
	lip  *local
	hold sched.Conn // the scheduler's count of us

	client sockaddr
	index  int32  // in the slab
	gen    uint32 // of this use of the slab's place; even: free
	timer  timer
	last   uint32 // second of the last byte
	due    uint32 // second by which the server must have accepted

	state sched.State
	tried []*sched.Server // most have none, so they take no room for them
}

// maxTries bounds the servers that one connection tries.
const maxTries = 8

// The sides of a connection.
const (
	client = 0
	origin = 1 // the real server
)

// half is one of the two sockets, and what was read from it and not yet
// written to the other one.
type half struct {
	fd    int32
	flags flags
	bulk  uint8 // full reads in a row
	off   int32
	end   int32
	// backlog is what the peer had not acknowledged when the timer was last due.
	backlog int32
	kept    *buffer // holds kept[off:end] for the other side
	pipe    *pipe   // or holds it, for bulk
}

type flags uint32

const (
	up         flags = 1 << iota // is connected
	registered                   // epoll knows the socket
	watchedOut                   // and reports when it is writable
	eof                          // all was read, the peer has sent its FIN
	finished                     // FIN seen by epoll, maybe not read up to yet
	failed                       // error seen by epoll
	urgent                       // has urgent data: a short read is not the end of what is there
	blocked                      // the last write to it did not take all
	queued                       // is in loop.again
	wrote                        // something was sent to it
	noDelay                      // Nagle is off
	splicing                     // is in bulk
	broken                       // a write to it failed: its end is no clean one
	guarded                      // has keepalive
	dying                        // its connection is about to be reset
	heralded                     // its PROXY header is awaited
	owed                         // something for it is in the tray
)

func (h *half) is(f flags) bool { return h.flags&f != 0 }
func (h *half) set(f flags)     { h.flags |= f }
func (h *half) clear(f flags)   { h.flags &^= f }

// What a socket is registered for: without EPOLLOUT until it is needed, which it
// is when a write does not take all, and to hear of the end of a connect.
// Sockets are writable at first, and to hear that of each would be an event for
// nothing.
const (
	eventsIn  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET
	eventsAll = eventsIn | unix.EPOLLOUT
)

// event handles what epoll reports of one side.
func (l *loop) event(c *conn, side int, ev uint32) {
	h := &c.half[side]
	if ev&unix.EPOLLERR != 0 {
		h.set(failed) // what is still to be read comes first, then the error
	}
	switch {
	case h.is(dying):
		return
	case !h.is(up):
		l.connecting(c, ev)
		return
	}
	if ev&unix.EPOLLPRI != 0 {
		h.set(urgent)
	}
	if ev&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 {
		h.set(finished)
	}
	if ev&unix.EPOLLERR != 0 && h.is(eof) {
		l.abort(c)
		return
	}
	gen := c.gen
	if ev&unix.EPOLLOUT != 0 && h.is(blocked) {
		h.clear(blocked)
		if l.pump(c, 1-side); c.gen != gen {
			return
		}
	}
	if ev&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0 {
		l.pump(c, side)
	}
}

// ended notes the FIN of one side and passes it on; after the second the
// connection is over.
func (l *loop) ended(c *conn, side int) {
	h, d := &c.half[side], &c.half[1-side]
	if !l.handed(d) {
		return // the end is read again when all is gone that came before it
	}
	if h.is(broken) {
		l.abort(c)
		return
	}
	h.set(eof)
	if d.is(eof) {
		l.finish(c, sched.TimeWait)
		return
	}
	c.last = l.sec // a FIN is a packet: the shorter timeout begins with it
	sysShutdownWrite(d.fd)
	if h.is(failed) { // a RST came behind the FIN, and epoll does not tell of it again
		l.abort(c)
		return
	}
	if side == client {
		l.enter(c, sched.CloseWait)
	} else {
		l.enter(c, sched.FinWait)
	}
	l.rearm(c)
}

// block notes that a side takes no more; EPOLLOUT will tell when it does.
func (l *loop) block(c *conn, side int) {
	d := &c.half[side]
	d.set(blocked)
	if !d.is(watchedOut) {
		d.set(watchedOut)
		if d.is(registered) {
			_ = l.epollControl(c, side, unix.EPOLL_CTL_MOD)
		}
	}
}

// register has epoll report of a side.
func (l *loop) register(c *conn, side int) syscall.Errno {
	c.half[side].set(registered)
	return l.epollControl(c, side, unix.EPOLL_CTL_ADD)
}

func (l *loop) epollControl(c *conn, side, op int) syscall.Errno {
	ev := uint32(eventsIn)
	if c.half[side].is(watchedOut) {
		ev = eventsAll
	}
	return sysEpollControl(l.epoll, op, c.half[side].fd, ev, newToken(side, c.index, c.gen))
}

// enter moves a connection to a state in which it counts differently.
func (l *loop) enter(c *conn, st sched.State) {
	c.state = st
	c.svc.mu.Lock()
	c.svc.sched.SetState(&c.hold, st)
	c.svc.mu.Unlock()
}
