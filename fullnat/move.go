package fullnat

import (
	"time"

	"golang.org/x/sys/unix"
)

// balance moves connections from the loop that works most to the one that works
// least. A connection begins in the loop of its packets' CPU, or by a hash;
// neither knows which ones stay, and how much they will transfer. Engine.mu is
// held, so that whatever is done in all loops finds each connection in one, and
// not during a listing, which has it only now and then.
func (e *Engine) balance() {
	if e.closed || e.listings.Load() > 0 {
		return
	}
	work := make([]time.Duration, len(e.loops))
	for i, l := range e.loops {
		total := l.used()
		work[i], l.worked = total-l.worked, total
	}
	if from, to, share := uneven(work); share > 0 {
		e.move(e.loops[from], e.loops[to], share)
	}
}

// uneven finds the loops that did most and least, and the share of the former's
// work that would make them even; 0 if it is not worth while.
func uneven(work []time.Duration) (from, to int, share float64) {
	for i, w := range work {
		if w > work[from] {
			from = i
		}
		if w < work[to] {
			to = i
		}
	}
	most, least := work[from], work[to]
	if more := most - least; more > worthMoving && more > (most+least)/8 {
		share = float64(more) / 2 / float64(most)
	}
	return from, to, share
}

const (
	// worthMoving is how much more CPU time one of two loops must have taken, in
	// estimateEvery, for connections to be moved.
	worthMoving = estimateEvery / 50
	// moveStep is how many places a loop looks at for connections to move, between
	// two rounds of traffic, moveSteps how often in estimateEvery.
	moveStep  = 1024
	moveSteps = 16
)

// used is the CPU time of the loop's thread.
func (l *loop) used() time.Duration {
	const perThread, schedClock = 4, 2 // CPUCLOCK_PERTHREAD_MASK, CPUCLOCK_SCHED
	id := l.thread.Load()
	if id == 0 {
		return 0
	}
	var t unix.Timespec
	if unix.ClockGettime(^id<<3|perThread|schedClock, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// move takes a share of a loop's busy connections to another loop, of very many
// only some.
func (e *Engine) move(from, to *loop, share float64) {
	var moving []conn
	var more bool
	done := make(chan bool, 1) // a loop that has ended does it at once
	for step := 0; step == 0 || more && step < moveSteps; step++ {
		from.do(func(l *loop) {
			moving, more = l.giveUp(share, moving[:0])
			done <- true
		})
		<-done
		to.do(func(l *loop) {
			for i := range moving {
				l.adopt(&moving[i])
			}
			done <- true
		})
		<-done
	}
}

// giveUp parts with a share of the connections that have moved bytes since the
// loops were compared last, in the places after those that it looked at last. It
// tells whether there are more places.
func (l *loop) giveUp(share float64, moving []conn) (_ []conn, more bool) {
	end := min(l.looked+moveStep, l.conns.used)
	due := share * float64(l.random()%1024) / 1024
	for ; l.looked < end; l.looked++ {
		c := l.conns.at(l.looked)
		if c.gen%2 == 0 || !c.movable() || c.last+uint32(estimateEvery/time.Second) < l.sec {
			continue
		}
		if due += share; due >= 1 {
			due--
			moving = append(moving, *c)
			l.part(c)
		}
	}
	if more = l.looked < l.conns.used; !more {
		l.looked = 0
	}
	return moving, more
}

// movable tells whether nothing of the loop but its tables has to do with a
// connection; that of a diverted service has a virtual, too, which is the loop's.
func (c *conn) movable() bool {
	const busy = queued | dying | heralded | owed
	s, k := &c.half[origin], &c.half[client]
	return c.at == c.at.ln.own && s.is(up) && k.is(registered) && !s.is(busy) && !k.is(busy) &&
		(s.is(wrote) || k.is(wrote)) // else it may wait to be greeted
}

// part forgets a connection that leaves.
func (l *loop) part(c *conn) {
	for i := range c.half {
		_ = sysEpollControl(l.epoll, unix.EPOLL_CTL_DEL, c.half[i].fd, 0, 0)
	}
	c.dst.shares[l.id].live.Add(-1)
	if c.lip != nil {
		c.lip.shares[l.id].live.Add(-1)
	}
	i := c.index
	l.wheel.disarm(&l.conns, i)
	*c = conn{gen: c.gen + 1}
	l.conns.put(i)
}

// adopt takes a connection that has left another loop. What happened to its
// sockets meanwhile epoll reports, as it does with all that are new to it.
func (l *loop) adopt(m *conn) {
	c, i := l.conns.take()
	gen := c.gen + 1
	*c = *m
	c.index, c.gen, c.timer = i, gen, timer{}
	c.dst.shares[l.id].live.Add(1)
	if c.lip != nil {
		c.lip.shares[l.id].live.Add(1)
	}
	l.wheel.arm(&l.conns, i, l.deadline(c))
	for side := range c.half {
		if l.register(c, side) != noErr {
			l.abort(c)
			return
		}
	}
}
