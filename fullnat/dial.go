package fullnat

import (
	"slices"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/fullnat/sched"
	"golang.org/x/sys/unix"
)

// start connects to the chosen server.
func (l *loop) start(c *conn) {
	set := c.svc.settings.Load()
	c.due = l.sec + set.connect + 1 // seconds are counted by their beginning
	c.dst.shares[l.id].live.Add(1)
	l.dial(c, set)
}

// dial opens the socket to the server and binds it to a LIP. The port is taken
// by connect, not by bind (IP_BIND_ADDRESS_NO_PORT), so that it can serve every
// server once. The last ACK of the handshake waits for the data that the client
// has most often sent already (TCP_QUICKACK).
func (l *loop) dial(c *conn, set *settings) {
	fd, e := sysSocket(c.dst.connect.family(), unix.SOCK_STREAM)
	if e != noErr {
		l.errs.noFiles.Add(1)
		l.park(c)
		l.pause()
		return
	}
	c.half[origin].fd = fd
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
	if lip := l.pick(set.locals(c.dst.connect.family())); lip != nil {
		sysSetInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // for IPv6, too
		if !l.bind(c, lip) {
			l.dialled(c, l.dialFromAnother(c, lip))
			return
		}
	}
	l.tray.calls = append(l.tray.calls, ref{index: c.index, gen: c.gen})
}

// dialled is told what came of a connect. Running out of descriptors or ports is
// not the server's fault: the connection waits for some.
func (l *loop) dialled(c *conn, e syscall.Errno) {
	if lip := c.lip; lip != nil && e == unix.EADDRNOTAVAIL {
		l.conflict(c)
		e = l.dialFromAnother(c, lip)
	}
	if c.lip != nil {
		c.lip.shares[l.id].total.Add(1)
	}
	switch e {
	case noErr, unix.EINPROGRESS:
		l.watch(c, e == noErr)
	default:
		l.connectFailed(c, e)
	}
}

// dialFromAnother connects from one of the LIPs but the one that was tried.
func (l *loop) dialFromAnother(c *conn, lip *local) syscall.Errno {
	locals := c.svc.settings.Load().locals(c.dst.connect.family())
	for range len(locals) - 1 {
		if lip = next(locals, lip); !l.bind(c, lip) {
			continue
		}
		to := c.at.reaches(c.dst)
		if e := sysConnect(c.half[origin].fd, &to); e != unix.EADDRNOTAVAIL {
			return e
		}
		l.conflict(c)
	}
	return unix.EADDRNOTAVAIL
}

func (l *loop) bind(c *conn, lip *local) bool {
	share := &lip.shares[l.id]
	if sysBind(c.half[origin].fd, &lip.bind) != noErr {
		share.unusable.Add(1)
		return false
	}
	c.lip = lip
	share.live.Add(1)
	return true
}

// conflict notes that a connection's LIP has no port for its server.
func (l *loop) conflict(c *conn) {
	c.lip.shares[l.id].conflicts.Add(1)
	l.returnLocal(c)
}

func next(locals []*local, after *local) *local {
	for i, x := range locals {
		if x == after {
			return locals[(i+1)%len(locals)]
		}
	}
	return locals[0]
}

// watch registers the server's socket; the client's is not looked at before the
// server is there, so that a retry loses nothing.
func (l *loop) watch(c *conn, connected bool) {
	l.wheel.arm(&l.conns, c.index, c.due)
	if !connected {
		c.half[origin].set(watchedOut)
	}
	if l.register(c, origin) != noErr {
		l.abort(c)
		return
	}
	if connected {
		l.connected(c)
	}
}

// connecting handles the first event of the server's socket. A server may have
// accepted, answered and reset already: what it said is there to be read before
// the error is. One that has said nothing is as one that refused: nobody has
// heard of it, and another one may do better.
func (l *loop) connecting(c *conn, ev uint32) {
	s := &c.half[origin]
	if ev&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if n, e := sysPeek(s.fd, l.scratch[:1]); n <= 0 {
			l.connectFailed(c, e)
			return
		}
	} else if ev&unix.EPOLLOUT == 0 {
		return
	}
	if ev&unix.EPOLLRDHUP != 0 {
		s.set(finished)
	}
	gen := c.gen
	l.connected(c)
	if c.gen == gen && ev&unix.EPOLLIN != 0 {
		l.pump(c, origin)
	}
}

// connectFailed: a server that refused, or could not be reached, is counted and
// another one is tried.
func (l *loop) connectFailed(c *conn, e syscall.Errno) {
	l.hangUp(c)
	if e == unix.EADDRNOTAVAIL {
		l.park(c)
		return
	}
	l.retry(c)
}

// hangUp closes the socket to the server of a connection that is not up.
func (l *loop) hangUp(c *conn) {
	if fd := c.half[origin].fd; fd >= 0 {
		sysClose(fd)
	}
	c.half[origin] = half{fd: -1}
	l.returnLocal(c)
}

func (l *loop) returnLocal(c *conn) {
	if c.lip != nil {
		c.lip.shares[l.id].live.Add(-1)
		c.lip = nil
	}
}

func (l *loop) retry(c *conn) {
	l.wheel.disarm(&l.conns, c.index)
	share := &c.dst.shares[l.id]
	share.failed.Add(1)
	share.live.Add(-1)
	set := c.svc.settings.Load()
	if len(c.tried) < min(set.retries, maxTries) {
		c.tried = append(c.tried, c.hold.Server())
		if l.choose(c) {
			l.start(c)
			return
		}
	}
	share.conns.Add(1)
	c.dst = nil
	l.errs.unreachable.Add(1)
	l.discard(c)
}

// connected tells both sides of each other. Only now is it known which server
// has the connection: a count that is taken back makes rates nonsense.
func (l *loop) connected(c *conn) {
	s, k := &c.half[origin], &c.half[client]
	c.dst.shares[l.id].conns.Add(1)
	s.set(up)
	c.last = l.sec
	c.state = sched.Established // counts as before
	k.set(up)
	gen := c.gen
	switch set := c.svc.settings.Load(); {
	case set.proxy == NoProxy:
		l.pump(c, client)
	case set.trusts(&c.client):
		l.awaitHeader(c, set)
	default:
		l.introduce(c, set.proxy)
	}
	if c.gen != gen || k.is(dying) {
		return
	}
	if !s.is(wrote) {
		l.greet(c)
	}
	if l.register(c, client) != noErr {
		l.abort(c)
	}
}

// greeting is a handshake whose last ACK nothing has carried yet.
type greeting struct {
	ref
	due time.Duration
}

// greetAfter is how long a handshake's last ACK waits for the client's first
// bytes, where clients speak first.
const greetAfter = 5 * time.Millisecond

// greet sees to it that a server that may speak first hears that the connection
// is up: at once if that is what servers of this service do, else after a while,
// as the client's bytes may come any moment and carry the ACK. An ACK alone is a
// packet more, and wakes the server for nothing.
func (l *loop) greet(c *conn) {
	if c.svc.unprompted.Load() {
		sysAcknowledge(c.half[origin].fd)
		return
	}
	l.greetings = append(l.greetings, greeting{ref{index: c.index, gen: c.gen}, l.now + greetAfter})
}

// greetLate sends the ACKs that nothing has carried.
func (l *loop) greetLate() {
	n := 0
	for ; n < len(l.greetings) && l.greetings[n].due <= l.now; n++ {
		g := &l.greetings[n]
		if c := l.conns.at(g.index); c.gen == g.gen && !c.half[origin].is(wrote) {
			sysAcknowledge(c.half[origin].fd)
		}
	}
	l.greetings = slices.Delete(l.greetings, 0, n)
}
