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
	at     *virtual
	lip    *local
	client [16]byte
	port   uint16
	state  sched.State
	next   uint32 // in the bucket
	ends   time.Duration
}

// ghostQueue holds ghosts of one lifetime, so the first to come is the first to
// go. Chunks are used again and again. A table finds the ghost of a client's
// address and port, as a new connection from there takes its place.
type ghostQueue struct {
	all    []*[ghostChunk]ghost
	chunks []int32 // those in use, oldest first
	spare  []int32
	first  int // of the oldest chunk
	n      int

	buckets []uint32 // place+1 of the newest ghost, which has that of the one before
}

const ghostChunk = 512

// haunt leaves a ghost of a connection that is over, in the loop that accepted it:
// there its client will come back.
func (l *loop) haunt(c *conn, st sched.State) {
	from := c.client.unscoped()
	g := ghost{
		hold: c.hold, at: c.at, lip: c.lip, client: from.Addr().As16(), port: from.Port(),
		state: st, ends: l.now + sched.Lifetime(ipvs.TCP, st, ipvs.Timeouts{}),
	}
	c.at.join()
	c.hold = sched.Conn{}
	if home := c.at.ln.loop; home == l || !home.send(&g) {
		l.keepGhost(&g)
	}
}

func (l *loop) keepGhost(g *ghost) {
	q := &l.ghosts[0]
	if g.state == sched.Close {
		q = &l.ghosts[1]
	}
	kept := q.push()
	*kept = *g
	q.link(kept, q.first+q.n-1)
}

// send leaves a ghost with a loop that is not the caller's, unless that has ended.
// It is only woken if nothing else would.
func (l *loop) send(g *ghost) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return false
	}
	l.strays = append(l.strays, *g)
	if l.strayed.Add(1) == 1 && l.asleep.Load() {
		l.wake()
	}
	return true
}

// takeIn keeps the ghosts that other loops have sent.
func (l *loop) takeIn() {
	if l.strayed.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.strays {
		l.keepGhost(&l.strays[i])
	}
	clear(l.strays)
	l.strays = l.strays[:0]
	l.strayed.Store(0)
}

// exorcise takes what an earlier connection from a client's port still holds; it
// holds nothing if there is none. The loop is the one that has accepted both.
func (l *loop) exorcise(at *virtual, client sockaddr) (hold sched.Conn) {
	l.takeIn()
	from := client.unscoped()
	for i := range l.ghosts {
		if g := l.ghosts[i].find(at, from.Addr().As16(), from.Port()); g != nil {
			hold, g.hold = g.hold, hold
			break
		}
	}
	return hold
}

func (q *ghostQueue) push() *ghost {
	at := q.first + q.n
	if at/ghostChunk == len(q.chunks) {
		q.chunks = append(q.chunks, q.newChunk())
	}
	q.n++
	return q.at(at)
}

func (q *ghostQueue) newChunk() int32 {
	if n := len(q.spare); n > 0 {
		c := q.spare[n-1]
		q.spare = q.spare[:n-1]
		return c
	}
	q.all = append(q.all, new([ghostChunk]ghost))
	return int32(len(q.all) - 1)
}

func (q *ghostQueue) at(i int) *ghost { return &q.all[q.chunks[i/ghostChunk]][i%ghostChunk] }

// place names a ghost for as long as it is in the queue.
func (q *ghostQueue) place(i int) uint32 {
	return uint32(q.chunks[i/ghostChunk])*ghostChunk + uint32(i%ghostChunk) + 1
}

func (q *ghostQueue) placed(p uint32) *ghost { return &q.all[(p-1)/ghostChunk][(p-1)%ghostChunk] }

func (q *ghostQueue) bucket(client [16]byte, port uint16) *uint32 {
	h := uint32(2166136261) ^ uint32(port)
	for i := 0; i < len(client); i += 4 {
		h = (h ^ word(client[i:])) * 16777619
		h ^= h >> 15
	}
	return &q.buckets[h%uint32(len(q.buckets))]
}

// link files the ghost at i; the table doubles when it is full.
func (q *ghostQueue) link(g *ghost, i int) {
	if q.n > len(q.buckets) {
		q.buckets = make([]uint32, max(2*len(q.buckets), ghostChunk))
		for k := q.first; k < i; k++ {
			if old := q.at(k); old.hold.Server() != nil {
				q.insert(old, q.place(k))
			}
		}
	}
	q.insert(g, q.place(i))
}

func (q *ghostQueue) insert(g *ghost, place uint32) {
	b := q.bucket(g.client, g.port)
	g.next = *b
	*b = place
}

func (q *ghostQueue) find(at *virtual, client [16]byte, port uint16) *ghost {
	if q.n == 0 {
		return nil
	}
	for p := *q.bucket(client, port); p != 0; {
		g := q.placed(p)
		if g.port == port && g.client == client && g.of(at) && g.hold.Server() != nil {
			return g
		}
		p = g.next
	}
	return nil
}

// unlink takes the oldest ghost from the table.
func (q *ghostQueue) unlink(g *ghost) {
	for b := q.bucket(g.client, g.port); *b != 0; b = &q.placed(*b).next {
		if q.placed(*b) == g {
			*b = g.next
			return
		}
	}
}

// expire ends the ghosts whose time has come. Neighbours are often of the same
// service, whose lock is then taken once.
func (q *ghostQueue) expire(l *loop, now time.Duration) {
	var locked *service
	for q.n > 0 {
		g := q.at(q.first)
		if g.ends > now {
			break
		}
		if svc := g.at.ln.svc; svc != locked {
			if locked != nil {
				locked.mu.Unlock()
			}
			locked = svc
			locked.mu.Lock()
		}
		locked.sched.End(now, &g.hold)
		q.unlink(g)
		l.leave(g.at)
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

// of tells whether the connection was to a virtual, perhaps by another of the
// service's sockets.
func (g *ghost) of(at *virtual) bool {
	return g.at == at || g.at.ln.svc == at.ln.svc && g.at.addr == at.addr
}

func (g *ghost) clientAddr() netip.AddrPort {
	a := netip.AddrFrom16(g.client)
	if g.at.ln.svc.key.AF() == ipvs.IPv4 {
		a = a.Unmap()
	}
	return netip.AddrPortFrom(a, g.port)
}
