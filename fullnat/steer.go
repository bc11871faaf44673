package fullnat

import (
	"github.com/goipvs/goipvs/fullnat/sched"
	"golang.org/x/sys/unix"
)

// attract has the kernel give to a listening socket the connections whose
// packets come in on the loop's CPU (Linux 6.2; older ones go by the hash of the
// addresses), so that packets and the loop that they are for share a CPU and
// its caches. Packets of other CPUs go by the hash, too. It overrules what a
// process before this one said of the socket. UDP has none of it: a client's
// datagrams must find its session, whichever CPU they come in on. Nor have
// diverted services, whose connections cannot be shared out again.
func (l *loop) attract(fd int32) {
	_ = sysSetInt(fd, unix.SOL_SOCKET, unix.SO_INCOMING_CPU, l.cpu)
}

// guest is an accepted connection that is not any loop's yet.
type guest struct {
	at      *virtual
	fd      int32
	client  sockaddr
	earlier sched.Conn // the connection that it takes the place of, if any
}

// helping is how many connections a loop accepts at once before it asks for
// help.
const helping = 8

// helper is who takes the next few connections after the first n that the loop
// has accepted at once; nil is the loop itself. Where packets come in on few
// CPUs, as with a network card that has few queues, their loops would have all
// the work and others none. So a loop that has much shares it with another one,
// chosen at random, if that has nothing to do; if all are busy packets and loops
// are best left together. Connections of diverted services stay, as their virtual
// is the loop's.
func (l *loop) helper(ln *listener, n int) *loop {
	others := uint32(len(l.engine.loops) - 1)
	if n == 0 || others == 0 || ln.own == nil {
		return nil
	}
	o := l.engine.loops[(uint32(l.id)+1+l.random()%others)%(others+1)]
	if !o.asleep.Load() {
		return nil
	}
	return o
}

// give hands l.giving to another loop.
func (l *loop) give(to *loop) {
	if len(l.giving) == 0 {
		return
	}
	to.mu.Lock()
	if to.dead {
		to.turnAway(l.giving)
	} else {
		to.guests = append(to.guests, l.giving...)
		to.wake()
	}
	to.mu.Unlock()
	l.giving = l.giving[:0]
}

// turnAway resets connections that come when the loop has ended.
func (l *loop) turnAway(guests []guest) {
	for _, g := range guests {
		sysAbort(g.fd)
		sysClose(g.fd)
		g.at.ln.svc.live.Add(-1)
		l.engine.conns.Add(-1)
	}
}
