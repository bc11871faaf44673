package fullnat

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
)

// ghost is a closed connection that the kernel would still know and count: for
// two minutes as TIME_WAIT, ten seconds after a RST. Schedulers and thresholds
// see it, and it is listed.
type ghost struct {
	hold   sched.Conn
	svc    *service
	lip    *local
	client [16]byte
	port   uint16
	state  sched.State
	ends   time.Duration
}

// ghostQueue holds ghosts of one lifetime, so the first to come is the first to
// go. Chunks are used again and again.
type ghostQueue struct {
	chunks []*[ghostChunk]ghost // those in use, oldest first
	spare  []*[ghostChunk]ghost
	first  int // of the oldest chunk
	n      int
}

const ghostChunk = 512

// haunt leaves a ghost of a connection that is over.
func (l *loop) haunt(c *conn, st sched.State) {
	q := &l.ghosts[0]
	if st == sched.Close {
		q = &l.ghosts[1]
	}
	from := c.client.unscoped()
	*q.push() = ghost{
		hold: c.hold, svc: c.svc, lip: c.lip, client: from.Addr().As16(), port: from.Port(),
		state: st, ends: l.now + sched.Lifetime(ipvs.TCP, st, ipvs.Timeouts{}),
	}
	c.hold = sched.Conn{}
}

func (q *ghostQueue) push() *ghost {
	at := q.first + q.n
	if at/ghostChunk == len(q.chunks) {
		q.chunks = append(q.chunks, q.newChunk())
	}
	q.n++
	return q.at(at)
}

func (q *ghostQueue) newChunk() *[ghostChunk]ghost {
	if n := len(q.spare); n > 0 {
		c := q.spare[n-1]
		q.spare = q.spare[:n-1]
		return c
	}
	return new([ghostChunk]ghost)
}

func (q *ghostQueue) at(i int) *ghost { return &q.chunks[i/ghostChunk][i%ghostChunk] }

// expire ends the ghosts whose time has come. Neighbours are often of the same
// service, whose lock is then taken once.
func (q *ghostQueue) expire(now time.Duration) {
	var locked *service
	for q.n > 0 {
		g := q.at(q.first)
		if g.ends > now {
			break
		}
		if g.svc != locked {
			if locked != nil {
				locked.mu.Unlock()
			}
			locked = g.svc
			locked.mu.Lock()
		}
		locked.sched.End(now, &g.hold)
		q.pop()
	}
	if locked != nil {
		locked.mu.Unlock()
	}
}

func (q *ghostQueue) pop() {
	*q.at(q.first) = ghost{}
	q.first++
	q.n--
	if q.first < ghostChunk {
		return
	}
	q.first = 0
	used := q.chunks[0]
	copy(q.chunks, q.chunks[1:])
	q.chunks = q.chunks[:len(q.chunks)-1]
	q.spare = append(q.spare, used)
}

func (g *ghost) clientAddr() netip.AddrPort {
	a := netip.AddrFrom16(g.client)
	if g.svc.key.AF() == ipvs.IPv4 {
		a = a.Unmap()
	}
	return netip.AddrPortFrom(a, g.port)
}
