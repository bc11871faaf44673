package fullnat

import (
	"net/netip"
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
	loop  *loop
	svc   *service
	own   *virtual // what it listens to; nil: it is diverted
	burst int      // how many connections to expect at once
	quiet bool     // epoll does not report it for now

	// Of a diverted service:
	addr     netip.AddrPort // of the socket
	virtuals map[netip.AddrPort]*virtual

	// Of UDP:
	datagrams bool
	table     flowTable
	retired   bool // nothing comes from here any more; closed with its last flow
}

const maxBurst = 64

// accept takes connections until there are fewer than expected. It does not ask
// once more to hear that there are none: epoll says when there are. Under load
// the expectation grows, so that a call of epoll serves many. Of many another loop
// may get some.
func (l *loop) accept(ln *listener) {
	var helper *loop
	for n := range ln.burst {
		if n%helping == 0 {
			l.give(helper)
			helper = l.helper(ln, n)
		}
		g, ok := l.acceptOne(ln)
		switch {
		case !ok:
			l.give(helper)
			return
		case g.at == nil: // it has no service
			sysAbort(g.fd)
			sysClose(g.fd)
			continue
		}
		l.engine.conns.Add(1)
		ln.svc.live.Add(1)
		if helper != nil {
			g.earlier = l.exorcise(g.at, g.client)
			l.giving = append(l.giving, g)
		} else {
			l.begin(&g)
		}
	}
	l.give(helper)
	ln.burst = min(ln.burst*2, maxBurst)
}

func (l *loop) acceptOne(ln *listener) (g guest, ok bool) {
	if l.full(ln) {
		return g, false
	}
	var e syscall.Errno
	if g.fd, e = sysAccept(ln.fd, &g.client); e != noErr {
		ln.burst = max(ln.burst/2, 1)
		l.acceptFailed(ln, e)
		return g, false
	}
	g.at = l.addressed(ln, g.fd)
	return g, true
}

// acceptFailed: of a failed accept only a shortage of descriptors or memory
// matters, during which the connection waits in the kernel, and that the socket
// does not listen any more, as somebody has shut it down: another process that has
// it, or "ss --kill".
func (l *loop) acceptFailed(ln *listener, e syscall.Errno) {
	switch e {
	case unix.EINVAL:
		if unix.Listen(int(ln.fd), backlog) != nil {
			l.pause()
		}
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		l.errs.noFiles.Add(1)
		l.pause()
	}
}

// begin makes a connection of an accepted socket, which counts already, and
// chooses its server, while the earlier connection from there is still counted.
func (l *loop) begin(g *guest) {
	if g.at.ln.loop == l {
		g.earlier = l.exorcise(g.at, g.client)
	}
	c, i := l.conns.take()
	*c = conn{client: g.client, index: i, gen: c.gen + 1, svc: g.at.ln.svc, at: g.at, last: l.sec}
	g.at.join()
	c.half[client].fd, c.half[origin].fd = g.fd, -1
	chosen := l.choose(c)
	if g.earlier.Server() != nil { // it ends now, as in the kernel (conn_reuse_mode 1)
		c.svc.mu.Lock()
		c.svc.sched.End(l.now, &g.earlier)
		c.svc.mu.Unlock()
	}
	if !chosen {
		l.errs.refused.Add(1)
		l.discard(c)
		return
	}
	l.start(c)
}

// choose asks the scheduler, or a second time for another server than those
// that were tried.
func (l *loop) choose(c *conn) bool {
	svc, from, to := c.svc, c.client.unscoped(), c.at.addr
	svc.mu.Lock()
	defer svc.mu.Unlock()
	var choice sched.Choice
	var ok bool
	if len(c.tried) == 0 {
		choice, ok = svc.sched.Choose(l.now, from, to)
	} else {
		choice, ok = svc.sched.ChooseOther(l.now, from, to, c.tried)
	}
	if ok {
		svc.sched.Bind(l.now, &c.hold, choice, ipvs.TCP)
		svc.sched.SetState(&c.hold, sched.SynRecv)
		c.state = sched.SynRecv
		c.dst = of(choice.Server)
	}
	return ok
}
