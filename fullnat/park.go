package fullnat

import (
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parked is a connection that was accepted and found no descriptor or port to
// reach its server by.
type parked = ref

const retryEvery = 100 * time.Millisecond

// localErrors count what went wrong in a loop for reasons of our own or for
// good. Reported as Errors.
type localErrors struct {
	refused, unreachable, noFiles, exhausted, idle, dropped atomic.Uint64
}

// park lets a connection wait for a descriptor or port. Its service accepts
// nothing meanwhile: the next one would find none either.
func (l *loop) park(c *conn) {
	l.parked = append(l.parked, parked{index: c.index, gen: c.gen})
	for _, ln := range l.listeners {
		if ln != nil && ln.svc == c.svc {
			l.hush(ln)
		}
	}
}

// settle tries again what waited: after a connection has ended, or when the
// loop woke because its patience ran out.
func (l *loop) settle() {
	if len(l.aborting) > 0 {
		l.resetSent()
	}
	if len(l.parked) > 0 {
		l.unpark()
	}
	if l.paused && !l.engine.atLimit() && (l.released || l.waited(l.pausedAt)) {
		l.paused = false
	}
	if !l.paused && !l.held && l.quiet > 0 {
		l.resume()
	}
	l.released = false
}

// unpark tries the connections in the order they came, of each service up to the
// first that still finds nothing. Those whose time is over are reset.
func (l *loop) unpark() {
	if !l.released && !l.waited(l.parkedAt) {
		return
	}
	l.parkedAt = l.now
	was := l.parked
	l.parked = nil // park appends
	for _, r := range was {
		c := l.conns.at(r.index)
		switch {
		case c.gen != r.gen:
		case l.sec >= c.due:
			l.errs.exhausted.Add(1)
			l.discard(c)
		case l.waiting(c.svc):
			l.parked = append(l.parked, r)
		default:
			l.dial(c, c.svc.settings.Load())
			l.connectAll()
		}
	}
}

// pause stops all accepting in the loop, for want of descriptors.
func (l *loop) pause() {
	l.paused, l.pausedAt = true, l.now
	for _, ln := range l.listeners {
		if ln != nil && !ln.datagrams { // old sessions go on, and new ones find room by ending others
			l.hush(ln)
		}
	}
}

func (l *loop) resume() {
	for _, ln := range l.listeners {
		if ln != nil && ln.quiet && (ln.datagrams || !l.paused && !ln.crowded() && !l.waiting(ln.svc)) {
			_ = l.listen(ln)
		}
	}
}

// listen has epoll report new connections. When epoll takes no more sockets this
// is tried again, as all that is quiet is.
func (l *loop) listen(ln *listener) (e syscall.Errno) {
	if !ln.quiet {
		return noErr
	}
	if e = sysEpollControl(l.epoll, unix.EPOLL_CTL_ADD, ln.fd, unix.EPOLLIN, newToken(kindListen, ln.index, ln.gen)); e == noErr {
		ln.quiet = false
		l.quiet--
	}
	return e
}

// hush has epoll know nothing of the socket: of one that it knows it would always
// report errors, to nobody who deals with them.
func (l *loop) hush(ln *listener) {
	if ln.quiet {
		return
	}
	ln.quiet = true
	l.quiet++
	_ = sysEpollControl(l.epoll, unix.EPOLL_CTL_DEL, ln.fd, 0, 0)
}

// full tells whether nothing more may be accepted, and sees to it.
func (l *loop) full(ln *listener) bool {
	switch {
	case ln.quiet:
	case l.engine.atLimit():
		l.pause()
	case ln.crowded():
		l.hush(ln)
	default:
		return false
	}
	return true
}

func (ln *listener) crowded() bool {
	most := ln.svc.settings.Load().maxConns
	return most > 0 && ln.svc.live.Load() >= most
}

func (l *loop) waiting(svc *service) bool {
	for _, r := range l.parked {
		if c := l.conns.at(r.index); c.gen == r.gen && c.svc == svc {
			return true
		}
	}
	return false
}

// waited tells whether it is time to try again although nothing has ended here:
// another loop or program may have given something back.
func (l *loop) waited(since time.Duration) bool { return l.now >= since+retryEvery }
