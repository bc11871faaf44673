package fullnat

import (
	"syscall"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// listener is one of a service's listening sockets, in one loop.
type listener struct {
	fd    int32
	index int32
	gen   uint32
	svc   *service
	burst int  // how many connections to expect at once
	quiet bool // epoll does not report it for now

	// Of UDP:
	datagrams bool
	table     flowTable
	talkers   []ref // sessions with answers
	retired   bool  // nothing comes from here any more; closed with its last flow
}

const maxBurst = 64

// accept takes connections until there are fewer than expected. It does not ask
// once more to hear that there are none: epoll says when there are. Under load
// the expectation grows, so that a call of epoll serves many.
func (l *loop) accept(ln *listener) {
	for range ln.burst {
		if l.full(ln) {
			return
		}
		c, i := l.conns.take()
		fd, e := sysAccept(ln.fd, &c.client)
		if e != noErr {
			l.conns.put(i)
			ln.burst = max(ln.burst/2, 1)
			l.acceptFailed(e)
			return
		}
		l.begin(ln.svc, c, i, fd)
	}
	ln.burst = min(ln.burst*2, maxBurst)
}

// acceptFailed: of a failed accept only a shortage of descriptors or memory
// matters. The connection waits in the kernel meanwhile.
func (l *loop) acceptFailed(e syscall.Errno) {
	switch e {
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		l.errs.noFiles.Add(1)
		l.pause()
	}
}

// begin makes a connection of an accepted socket and chooses its server.
func (l *loop) begin(svc *service, c *conn, i int32, fd int32) {
	gen := c.gen + 1
	*c = conn{client: c.client, index: i, gen: gen, svc: svc, last: l.sec}
	c.half[client].fd, c.half[origin].fd = fd, -1
	l.engine.conns.Add(1)
	svc.live.Add(1)
	if !l.choose(c) {
		l.errs.refused.Add(1)
		l.discard(c)
		return
	}
	l.start(c)
}

// choose asks the scheduler, or a second time for another server than those
// that were tried.
func (l *loop) choose(c *conn) bool {
	svc, from, to := c.svc, c.client.unscoped(), c.svc.key.Addr
	svc.mu.Lock()
	defer svc.mu.Unlock()
	var choice sched.Choice
	var ok bool
	if c.tries == 0 {
		choice, ok = svc.sched.Choose(l.now, from, to)
	} else {
		choice, ok = svc.sched.ChooseOther(l.now, from, to, c.tried[:c.tries])
	}
	if ok {
		svc.sched.Bind(l.now, &c.hold, choice, ipvs.TCP)
		svc.sched.SetState(&c.hold, sched.SynRecv)
		c.state = sched.SynRecv
		c.dst = of(choice.Server)
	}
	if c.tries == 0 {
		l.exorcise(c)
	}
	return ok
}

// start connects to the chosen server.
func (l *loop) start(c *conn) {
	set := c.svc.settings.Load()
	c.due = l.sec + set.connect + 1 // seconds are counted by their beginning
	c.dst.shares[l.id].conns.Add(1)
	c.dst.shares[l.id].live.Add(1)
	l.dial(c, set)
}

// dial opens the socket to the server. Running out of descriptors or ports is
// not the server's fault: the connection waits for some.
func (l *loop) dial(c *conn, set *settings) {
	fd, e := sysSocket(c.dst.connect.family(), unix.SOCK_STREAM)
	if e != noErr {
		l.errs.noFiles.Add(1)
		l.park(c)
		l.pause()
		return
	}
	e = l.connect(fd, c, set.locals(c.dst.connect.family()))
	switch e {
	case noErr, unix.EINPROGRESS:
		c.half[origin].fd = fd
		l.watch(c, e == noErr)
	case unix.EADDRNOTAVAIL:
		sysClose(fd)
		l.park(c)
	default:
		sysClose(fd)
		l.retry(c)
	}
}

// connect binds to a LIP that has a port for the server and connects. The port
// is taken by connect, not by bind (IP_BIND_ADDRESS_NO_PORT), so that it can
// serve every server once. The last ACK of the handshake waits for the data
// that the client has most often sent already (TCP_QUICKACK).
func (l *loop) connect(fd int32, c *conn, locals []*local) syscall.Errno {
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
	lip := l.pick(locals)
	if lip == nil {
		return sysConnect(fd, &c.dst.connect)
	}
	sysSetInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // for IPv6, too
	for tries := 0; ; tries++ {
		share := &lip.shares[l.id]
		e := sysBind(fd, &lip.bind)
		if e != noErr {
			share.unusable.Add(1)
			e = unix.EADDRNOTAVAIL
		} else if e = sysConnect(fd, &c.dst.connect); e == unix.EADDRNOTAVAIL {
			share.conflicts.Add(1)
		}
		switch e {
		case noErr, unix.EINPROGRESS:
			c.lip = lip
			share.live.Add(1)
			share.total.Add(1)
			return e
		case unix.EADDRNOTAVAIL:
		default:
			return e
		}
		if tries+1 >= len(locals) {
			return unix.EADDRNOTAVAIL
		}
		lip = next(locals, lip)
	}
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
	e := sysEpollControl(l.epoll, unix.EPOLL_CTL_ADD, c.half[origin].fd, eventsAll, newToken(kindOrigin, c.index, c.gen))
	if e != noErr {
		l.abort(c)
		return
	}
	if connected {
		l.connected(c)
	}
}

// connecting handles the first event of the server's socket.
func (l *loop) connecting(c *conn, ev uint32) {
	switch {
	case ev&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		l.connectFailed(c, sysSocketError(c.half[origin].fd))
	case ev&unix.EPOLLOUT != 0:
		if ev&unix.EPOLLRDHUP != 0 {
			c.half[origin].set(finished)
		}
		gen := c.gen
		l.connected(c)
		if c.gen == gen && ev&unix.EPOLLIN != 0 {
			l.pump(c, origin)
		}
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
	if int(c.tries) < min(set.retries, maxTries) {
		c.tried[c.tries] = c.hold.Server()
		c.tries++
		if l.choose(c) {
			share.conns.Add(^uint64(0)) // it is the other one's now
			l.start(c)
			return
		}
	}
	c.dst = nil
	l.errs.unreachable.Add(1)
	l.discard(c)
}

// connected tells both sides of each other.
func (l *loop) connected(c *conn) {
	s, k := &c.half[origin], &c.half[client]
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
		sysSetInt(s.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) // nothing carries the ACK, and this server may speak first
	}
	ev := uint32(eventsIn)
	if k.is(watchedOut) {
		ev = eventsAll
	}
	k.set(registered)
	if e := sysEpollControl(l.epoll, unix.EPOLL_CTL_ADD, k.fd, ev, newToken(kindClient, c.index, c.gen)); e != noErr {
		l.abort(c)
	}
}
