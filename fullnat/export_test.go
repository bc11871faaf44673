package fullnat

import (
	"io"
	"net/netip"
	"sync"
	"time"
)

// Skew moves the engine's clock forward.
func (e *Engine) Skew(d time.Duration) {
	e.skew.Add(int64(d))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all(func(*loop) {})
}

// Threads are the thread ids of the loops.
func (e *Engine) Threads() (ids []int) {
	e.all(func(*loop) {})
	for _, l := range e.loops {
		ids = append(ids, int(l.thread.Load()))
	}
	return ids
}

// Ghosts is how many closed connections still count.
func (e *Engine) Ghosts() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		done := make(chan int, 1)
		l.do(func(l *loop) { done <- l.ghosts[0].n + l.ghosts[1].n })
		n += <-done
	}
	return n
}

// ServersKnown is how many servers the services know, after a look at whom they
// can forget.
func (e *Engine) ServersKnown() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, svc := range e.services {
		svc.tick(e.clock())
		n += len(svc.servers)
	}
	return n
}

// RetryEvery is how long a connection waits for a port before it is tried again.
const RetryEvery = retryEvery

// InLoops runs f in the thread of each loop, one after the other.
func (e *Engine) InLoops(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		done := make(chan bool)
		l.do(func(*loop) { f(); close(done) })
		<-done
	}
}

// Backlog is what peers of open connections have not acknowledged.
func (e *Engine) Backlog() (n int) {
	e.InLoops(func() {})
	for _, l := range e.loops {
		done := make(chan int)
		l.do(func(l *loop) {
			sum := 0
			for i := range l.conns.used {
				if c := l.conns.at(i); c.gen%2 == 1 {
					sum += sysUnacknowledged(c.half[client].fd) + sysUnacknowledged(c.half[origin].fd)
				}
			}
			done <- sum
		})
		n += <-done
	}
	return n
}

// NoTrains has the engine work as where the kernel has no trains. It is for the
// services that are made after it.
func (e *Engine) NoTrains() {
	e.InLoops(func() { e.trains = 0 })
}

// InTurns runs functions in the first loop, one in each of its rounds.
func (e *Engine) InTurns(fs ...func()) {
	done := make(chan bool)
	var turn func(l *loop)
	turn = func(l *loop) {
		if len(fs) == 0 {
			close(done)
			return
		}
		f := fs[0]
		fs = fs[1:]
		f()
		l.do(turn)
	}
	e.loops[0].do(turn)
	<-done
}

// AsConnected has the first loop accept clients that knock and connect them to
// their servers, and runs act before it hears what came of that.
func (e *Engine) AsConnected(knock, act func()) {
	done := make(chan bool)
	e.loops[0].do(func(l *loop) {
		knock()
		for _, ln := range l.listeners {
			l.accept(ln)
		}
		l.connectAll()
		act()
		close(done)
	})
	<-done
}

// SendByRing has a ring send b to sockets and close others, and returns what
// each of the former took, or a negative errno.
func SendByRing(to []int, b []byte, closing ...int) ([]int32, error) {
	r, err := testRing()
	if err != nil {
		return nil, err
	}
	sent := make([]int32, len(to))
	for i, fd := range to {
		sent[i] = int32(len(b))
		r.send(int32(fd), b, i)
	}
	for _, fd := range closing {
		r.hangUp(int32(fd))
	}
	if r.submit(len(to)+len(closing)) != len(to)+len(closing) {
		return nil, io.ErrShortWrite
	}
	for {
		i, res, ok := r.result()
		if !ok {
			return sent, nil
		}
		sent[i] = res
	}
}

// ConnectByRing has a ring connect sockets, and returns what came of it: negative
// errnos.
func ConnectByRing(fds []int, to netip.AddrPort) ([]int32, error) {
	r, err := testRing()
	if err != nil {
		return nil, err
	}
	at := newSockaddr(to)
	for i, fd := range fds {
		r.connect(int32(fd), &at, i)
	}
	if r.submit(len(fds)) != len(fds) {
		return nil, io.ErrShortWrite
	}
	res := make([]int32, len(fds))
	for i := range res {
		res[i] = -1 << 31
	}
	for i, e, ok := r.result(); ok; i, e, ok = r.result() {
		res[i] = e
	}
	return res, nil
}

// StickRing has the first loop's ring owe the result of a connect that it was
// never given.
func (e *Engine) StickRing() (had bool) {
	done := make(chan bool)
	e.loops[0].do(func(l *loop) {
		if r := l.tray.ring; r != nil {
			r.calling++
			had = true
		}
		close(done)
	})
	<-done
	return had
}

// HasRing tells whether the first loop uses io_uring.
func (e *Engine) HasRing() bool {
	done := make(chan bool, 1)
	e.loops[0].do(func(l *loop) { done <- l.tray.ring != nil })
	return <-done
}

// testRing is one for the test's thread.
var testRing = sync.OnceValues(func() (*ring, error) { return newRing(64) })

// Blocked is how many sockets have not taken all of what they were sent.
func (e *Engine) Blocked() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		done := make(chan int)
		l.do(func(l *loop) {
			sum := 0
			for i := range l.conns.used {
				for _, h := range l.conns.at(i).half {
					if h.is(blocked) {
						sum++
					}
				}
			}
			done <- sum
		})
		n += <-done
	}
	return n
}

// ShortSilence has engines that begin later find dead peers within three
// seconds, until undo.
func ShortSilence() (undo func()) {
	was := silence
	silence.before, silence.between, silence.questions = 1, 1, 2
	return func() { silence = was }
}

// Patience is how long, in milliseconds, the first loop would sleep now.
func (e *Engine) Patience() int {
	done := make(chan int, 1)
	e.loops[0].do(func(l *loop) { done <- l.patience() })
	return <-done
}

// Rounds is how many rounds the first loop has made.
func (e *Engine) Rounds() uint64 {
	done := make(chan uint64, 1)
	e.loops[0].do(func(l *loop) { done <- l.round })
	return <-done
}

// Pipes are how many pipes the first loop has for later, and how many its
// connections have.
func (e *Engine) Pipes() (spare, lent int) {
	done := make(chan bool)
	e.loops[0].do(func(l *loop) {
		spare = len(l.pipes)
		for i := range l.conns.used {
			for _, h := range l.conns.at(i).half {
				if h.pipe != nil {
					lent++
				}
			}
		}
		close(done)
	})
	<-done
	return spare, lent
}

// ConnsByLoop is how many TCP connections each loop has.
func (e *Engine) ConnsByLoop() (n []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		done := make(chan int)
		l.do(func(l *loop) { done <- l.conns.live })
		n = append(n, <-done)
	}
	return n
}

// CPUs are what the loops are tied to.
func (e *Engine) CPUs() (cpus []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		done := make(chan int)
		l.do(func(l *loop) { done <- int(l.cpu) })
		cpus = append(cpus, <-done)
	}
	return cpus
}

// Hold stops a loop until it is released.
func (e *Engine) Hold(i int) (release func()) {
	held, on := make(chan bool), make(chan bool)
	e.loops[i].do(func(*loop) { close(held); <-on })
	<-held
	return func() { close(on) }
}

// EndLoop has a loop do nothing more until it is released, and end then. Others
// believe it asleep.
func (e *Engine) EndLoop(i int) (release func()) {
	held, on := make(chan bool), make(chan bool)
	e.loops[i].do(func(l *loop) {
		l.stop = true
		l.asleep.Store(true)
		close(held)
		<-on
	})
	<-held
	return func() { close(on) }
}

// Move moves a share of a loop's busy connections to another loop.
func (e *Engine) Move(from, to int, share float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.move(e.loops[from], e.loops[to], share)
}

// StayPut has connections end in the loop that accepted them.
func (e *Engine) StayPut() { e.listings.Add(1) }

// Uneven is what becomes of loops that took so much CPU time.
var Uneven = uneven

// LoopsAsleep tells which loops have nothing to do.
func (e *Engine) LoopsAsleep() (asleep []bool) {
	for _, l := range e.loops {
		asleep = append(asleep, l.asleep.Load())
	}
	return asleep
}
