package fullnat

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop is one event loop: a thread of its own that waits on an epoll of its own
// for its connections, with sockets, memory and timers of its own. Nothing in it
// waits for another loop, and a connection costs it no goroutine, channel, map
// entry or allocation.
type loop struct {
	engine *Engine
	id     int
	seed   uint32
	epoll  int32
	bell   int32 // eventfd
	cpu    int32 // that it is tied to, or -1
	thread atomic.Int32
	events [256]unix.EpollEvent

	// The mailbox: how the control plane has things done in the loop, and what
	// other loops hand to it.
	mu     sync.Mutex
	mail   []func(*loop)
	guests []guest
	strays []ghost
	dead   bool
	asleep atomic.Bool // waits, maybe with something to wake up for already
	// strayed is how many strays there are, to be asked without the lock.
	strayed atomic.Int32

	welcome []guest // empty, to exchange for guests
	giving  []guest // to another loop

	now   time.Duration // since the engine began
	sec   uint32        // the same in whole seconds
	round uint64        // counts waits
	heard time.Duration // when there was an event
	stop  bool

	worked time.Duration // the control plane's: CPU time when the loops were compared
	looked int32         // at so many places for connections to move

	conns     connSlab
	wheel     wheel
	expire    func(int32)
	flows     flowSlab
	flowWheel wheel
	flowEnd   func(int32)
	in, out   *batch
	outN      int        // places of out that are taken
	talking   []*virtual // those with talkers
	asked     uint64     // the last round in which another loop was asked for room
	ghosts    [2]ghostQueue
	tray      tray
	scratch   *buffer
	buffers   []*buffer
	pipes     []*pipe
	moved     int   // bytes in the present turn of a side
	again     []ref // sides with more to do than a budget allows
	doing     []ref
	aborting  []ref // connections to reset when what was sent is on the wire
	greetings []greeting
	listeners []*listener
	parked    []parked
	parkedAt  time.Duration
	paused    bool // no listener is listened to, for want of descriptors
	pausedAt  time.Duration
	quiet     int  // listeners that are not listened to
	held      bool // no listener is listened to, for another process does
	listenGen uint32
	released  bool // a connection has ended in this round
	errs      localErrors
}

// token is what epoll gives back with an event: what it is about and which use
// of it, so that an event of a closed socket finds nobody.
type token uint64

const (
	kindClient = client
	kindOrigin = origin
	kindListen = 2
	kindOther  = 3
)

func newToken(kind int, index int32, gen uint32) token {
	return token(uint32(index)<<2|uint32(kind)) | token(gen)<<32
}

// ref is a side of a connection, if it is still that one.
type ref struct {
	index int32
	gen   uint32
	side  int8
}

func (l *loop) open() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return err
	}
	l.epoll, l.bell = int32(ep), int32(bell)
	l.seed = uint32(time.Now().UnixNano())<<1 | 1
	l.scratch = new(buffer)
	l.expire, l.flowEnd = l.expired, l.flowExpired
	if e := sysEpollControl(l.epoll, unix.EPOLL_CTL_ADD, l.bell, unix.EPOLLIN, newToken(kindOther, 0, 0)); e != noErr {
		l.shut()
		return e
	}
	return nil
}

func (l *loop) shut() {
	unix.Close(int(l.epoll))
	unix.Close(int(l.bell))
}

// do has f run in the loop, soon. Whoever needs to know when, tells f to say so.
// When the loop has ended, f runs at once.
func (l *loop) do(f func(*loop)) {
	l.mu.Lock()
	if l.dead {
		defer l.mu.Unlock()
		f(l)
		return
	}
	l.mail = append(l.mail, f)
	l.wake()
	l.mu.Unlock()
}

// wake has the loop look into its mailbox, which is locked: the loop cannot end
// meanwhile.
func (l *loop) wake() {
	one := [8]byte{7: 1}
	if littleEndian {
		one = [8]byte{1}
	}
	unix.Write(int(l.bell), one[:])
}

var littleEndian = bigEndian(1) != 1

func (l *loop) run() {
	runtime.LockOSThread() // and never unlocked: the thread ends with the loop
	l.cpu = -1
	if l.engine.pin {
		l.cpu = pin(l.id)
	}
	l.openRing()
	l.thread.Store(int32(unix.Gettid()))
	for !l.stop {
		n := l.wait()
		l.round++
		l.now = l.engine.clock()
		if n > 0 {
			l.heard = l.now
		}
		l.sec = uint32(l.now / time.Second)
		for i := range l.events[:n] {
			l.dispatch(&l.events[i])
		}
		l.answers()
		l.carryOn()
		l.deliverAll()
		l.settle()
		l.greetLate()
		l.tick()
		l.deliverAll()
	}
	l.release()
	l.deliver()
	l.closeRing()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	l.strays = nil
	l.strayed.Store(0)
	for _, f := range l.mail {
		f(l)
	}
	l.turnAway(l.guests)
	l.shut()
}

func (l *loop) dispatch(ev *unix.EpollEvent) {
	low := uint32(ev.Fd)
	index := int32(low >> 2)
	switch kind := int(low & 3); kind {
	case kindListen:
		if int(index) < len(l.listeners) {
			if ln := l.listeners[index]; ln != nil && ln.gen == uint32(ev.Pad) {
				l.ready(ln)
			}
		}
	case kindOther:
		if index == 0 {
			l.readMail()
		} else if f := l.flows.at(index - 1); f.gen == uint32(ev.Pad) {
			l.talks(f)
		}
	default:
		if c := l.conns.at(index); c.gen == uint32(ev.Pad) {
			l.event(c, kind, ev.Events)
		}
	}
}

func (l *loop) ready(ln *listener) {
	if ln.quiet { // since the event was reported
		return
	}
	if ln.datagrams {
		l.receive(ln)
	} else {
		l.accept(ln)
	}
}

func (l *loop) readMail() {
	var b [8]byte
	unix.Read(int(l.bell), b[:])
	l.mu.Lock()
	mail, guests := l.mail, l.guests
	l.mail, l.guests = nil, l.welcome[:0]
	l.mu.Unlock()
	l.welcome = guests
	l.takeIn()
	for i := range guests { // first, as the mail may be about them
		l.begin(&guests[i])
	}
	for _, f := range mail {
		f(l)
	}
}

// carryOn continues where a budget ended, once for each side.
func (l *loop) carryOn() {
	l.doing, l.again = l.again, l.doing[:0]
	for _, r := range l.doing {
		if c := l.conns.at(r.index); c.gen == r.gen {
			c.half[r.side].clear(queued)
			l.pump(c, int(r.side))
		}
	}
}

// patience is how long the loop may sleep, in milliseconds; -1 for good.
func (l *loop) patience() int {
	switch {
	case len(l.again) > 0:
		return 0
	case len(l.aborting)+len(l.greetings) > 0:
		return 5
	case l.quiet > 0 || len(l.parked) > 0:
		return 100
	case l.wheel.armed > 0 || l.flowWheel.armed > 0 || l.ghosts[0].n+l.ghosts[1].n > 0:
		return int((time.Second - l.now%time.Second + time.Millisecond - 1) / time.Millisecond)
	}
	return -1
}

const (
	// rawWait is the longest that a loop waits behind the back of Go's scheduler.
	rawWait = 10
	// rawAfter is how long it does so after the last event.
	rawAfter = 64 * time.Millisecond
)

// wait fills events. A wait that Go's scheduler is told of costs more than the
// proxying: its monitor takes what it believes idle away from the thread, and
// looks every 20 µs for a while whether it can do so again, which alone cost
// 8 % of a short connection. So a loop that has something to do waits raw. The
// collector stops such a thread by a signal, which interrupts the wait: then,
// and every 10 ms in any case, wait returns, as Go code stops only where it
// calls a function. A loop that nothing happens to waits in the ordinary way,
// in which the monitor lets it sleep.
func (l *loop) wait() int {
	timeout := l.patience()
	l.asleep.Store(timeout != 0)
	if l.strayed.Load() > 0 { // who sent them may have found us awake
		timeout = 0
	}
	n := l.waitFor(timeout)
	l.asleep.Store(false)
	return n
}

func (l *loop) waitFor(timeout int) int {
	if l.now-l.heard > rawAfter {
		n, _, e := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events)), uintptr(len(l.events)), uintptr(timeout), 0, 0)
		return events(n, e)
	}
	if timeout < 0 || timeout > rawWait {
		timeout = rawWait
	}
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events)), uintptr(len(l.events)), uintptr(timeout), 0, 0)
	return events(n, e)
}

func events(n uintptr, e syscall.Errno) int {
	if e != noErr {
		return 0
	}
	return int(n)
}

// tick does what the passing of time asks for.
func (l *loop) tick() {
	l.takeIn()
	if l.sec == l.wheel.tick {
		return
	}
	l.wheel.advance(&l.conns, l.sec, l.expire)
	l.flowWheel.advance(&l.flows, l.sec, l.flowEnd)
	for i := range l.ghosts {
		l.ghosts[i].expire(l, l.now)
	}
}

// pin ties the thread to the n-th CPU that the process may use, and returns which
// one that is. Where it is not allowed the thread stays free: -1.
func pin(n int) int32 {
	var may unix.CPUSet
	if unix.SchedGetaffinity(0, &may) != nil || may.Count() == 0 {
		return -1
	}
	n %= may.Count()
	for cpu := 0; ; cpu++ {
		if !may.IsSet(cpu) {
			continue
		}
		if n--; n < 0 {
			var one unix.CPUSet
			one.Set(cpu)
			if unix.SchedSetaffinity(0, &one) != nil {
				return -1
			}
			return int32(cpu)
		}
	}
}
