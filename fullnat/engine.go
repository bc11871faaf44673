package fullnat

import (
	"cmp"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/fullnat/tproxy"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// Config is how an engine works as a whole. The zero value works.
type Config struct {
	// Loops is how many event loops there are, each a busy thread under load;
	// 0 is one for each CPU that the process may use.
	Loops int
	// Unpinned lets the kernel move the loops' threads between CPUs.
	Unpinned bool
	// PlainCalls keeps the loops from io_uring, as kernel.io_uring_disabled does.
	PlainCalls bool
	// Reserve is how many file descriptors of the process's limit are not for
	// connections; 0 is 256.
	Reserve int
	// Scheduling nil is the kernel's defaults.
	Scheduling *Scheduling
	// Inherited are listening sockets from Engine.Listeners of a process before
	// this one, by exec or from systemd's store. Apply uses those of the services
	// that it is asked for, Disinherit closes the others. The engine owns the
	// files.
	Inherited []*os.File
	// Paused engines take nothing new before Resume, see Pause.
	Paused bool
	// Log may be nil.
	Log *slog.Logger
}

// Engine is the user-space data plane. All methods may be called by several
// goroutines; none of them stops traffic.
type Engine struct {
	log        *slog.Logger
	pin        bool
	plain      bool
	trains     uint16 // how long the datagrams of trains may be, 0 where the kernel has none
	scheduling Scheduling
	began      time.Time
	skew       atomic.Int64 // added to the clock, by tests
	files      int64        // descriptors for connections and listening sockets
	limit      atomic.Int64 // connections
	conns      atomic.Int64
	listings   atomic.Int64                          // that go from loop to loop now
	idle       struct{ tcp, fin, udp atomic.Uint32 } // seconds

	loops []*loop
	done  sync.WaitGroup

	mu        sync.Mutex
	services  map[ipvs.ServiceKey]*service
	listening int // sockets
	inherited map[endpoint][]int32
	rules     tproxy.Plane // that divert packets
	ruled     bool         // there are some, or may be
	timeouts  ipvs.Timeouts
	ports     int // localPorts, as last read: not for each service that is listed
	paused    bool
	closed    bool
	quit      chan struct{}
}

// New starts an engine without services. It raises GOMAXPROCS to one more than
// there are loops, which the control plane needs to be heard under load. Close
// ends it.
func New(c Config) (*Engine, error) {
	e := &Engine{
		log: c.Log, pin: !c.Unpinned, plain: c.PlainCalls, began: time.Now(),
		services: map[ipvs.ServiceKey]*service{}, ports: localPorts(), quit: make(chan struct{}),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if c.Scheduling != nil {
		e.scheduling = *c.Scheduling
	}
	e.setTimeouts(ipvs.Timeouts{})
	e.files = maxFiles() - int64(cmp.Or(max(c.Reserve, 0), 256))
	e.setListening(0)
	if hasTrains() {
		e.trains = longest
	}
	e.inherited, e.paused = inherit(c.Inherited), c.Paused
	n := c.Loops
	if n <= 0 {
		n = cpus()
	}
	if err := e.openLoops(n); err != nil {
		return nil, &OpError{Op: "start", Err: err}
	}
	if runtime.GOMAXPROCS(0) < n+1 {
		runtime.GOMAXPROCS(n + 1)
	}
	// Go's runtime opens an epoll instance for the first timer, and ends the process
	// when there is no descriptor left for that: so now, not under load.
	time.AfterFunc(estimateEvery, func() {}).Stop()
	for _, l := range e.loops {
		e.done.Go(l.run)
	}
	e.done.Go(e.estimate)
	return e, nil
}

func (e *Engine) openLoops(n int) error {
	for i := range n {
		l := &loop{engine: e, id: i, held: e.paused}
		if err := l.open(); err != nil {
			for _, l := range e.loops {
				l.shut()
			}
			return err
		}
		e.loops = append(e.loops, l)
	}
	return nil
}

// Close ends all connections with a RST and the engine. See Drain for a kinder
// way.
func (e *Engine) Close() {
	e.mu.Lock()
	was := e.closed
	e.closed = true
	e.mu.Unlock()
	if !was {
		close(e.quit)
		for _, l := range e.loops {
			l.do(func(l *loop) { l.stop = true })
		}
	}
	e.done.Wait()
}

// all runs f in every loop and waits until it has run everywhere. An engine
// that is closed runs nothing.
func (e *Engine) all(f func(*loop)) {
	if e.closed {
		return
	}
	var wg sync.WaitGroup
	for _, l := range e.loops {
		wg.Add(1)
		l.do(func(l *loop) { f(l); wg.Done() })
	}
	wg.Wait()
}

func (e *Engine) clock() time.Duration {
	return time.Since(e.began) + time.Duration(e.skew.Load())
}

func (e *Engine) atLimit() bool { return e.conns.Load() >= e.limit.Load() }

// Limit is how many connections there can be at a time, by the process's limit
// of file descriptors, of which listening sockets have some.
func (e *Engine) Limit() int { return int(e.limit.Load()) }

// setListening counts listening sockets. Each connection takes two descriptors of
// what is left.
func (e *Engine) setListening(n int) {
	e.listening = n
	e.limit.Store(max((e.files-int64(n))/2, 1))
}

// maxFiles is the process's limit of file descriptors.
func maxFiles() int64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		r.Cur = 1024
	}
	return int64(min(r.Cur, 1<<30))
}

func cpus() int {
	var may unix.CPUSet
	if unix.SchedGetaffinity(0, &may) != nil {
		return runtime.NumCPU()
	}
	return max(may.Count(), 1)
}

// SetTimeouts sets what "ipvsadm --set" does: how long a connection may be idle
// while it is open, after a FIN, and a UDP session. What is zero stays as it
// is, at first the kernel's defaults. They count at once.
func (e *Engine) SetTimeouts(t ipvs.Timeouts) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setTimeouts(t)
	e.all(func(l *loop) { l.rearmAll() })
}

func (e *Engine) setTimeouts(t ipvs.Timeouts) {
	e.timeouts = t.Or(e.timeouts)
	t = WithDefaults(e.timeouts)
	e.idle.tcp.Store(uint32(t.TCP / time.Second))
	e.idle.fin.Store(uint32(t.TCPFin / time.Second))
	e.idle.udp.Store(uint32(t.UDP / time.Second))
}

// WithDefaults are timeouts with the kernel's in place of zeros.
func WithDefaults(t ipvs.Timeouts) ipvs.Timeouts {
	return ipvs.Timeouts{
		TCP:    sched.Lifetime(ipvs.TCP, sched.Established, t),
		TCPFin: sched.Lifetime(ipvs.TCP, sched.FinWait, t),
		UDP:    sched.Lifetime(ipvs.UDP, sched.None, t),
	}
}

// SetScheduling changes Config.Scheduling, for connections from now on.
func (e *Engine) SetScheduling(s Scheduling) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scheduling = s
	for _, svc := range e.services {
		svc.mu.Lock()
		*svc.scheduling = s
		svc.mu.Unlock()
	}
}

// Timeouts are the idle timeouts that count now.
func (e *Engine) Timeouts() ipvs.Timeouts {
	sec := func(n uint32) time.Duration { return time.Duration(n) * time.Second }
	return ipvs.Timeouts{TCP: sec(e.idle.tcp.Load()), TCPFin: sec(e.idle.fin.Load()), UDP: sec(e.idle.udp.Load())}
}

func (l *loop) rearmAll() {
	for i := range l.conns.used {
		if c := l.conns.at(i); c.gen%2 == 1 {
			l.rearm(c)
		}
	}
	for i := range l.flows.used {
		if f := l.flows.at(i); f.gen%2 == 1 {
			l.flowWheel.arm(&l.flows, i, l.flowDeadline(f))
		}
	}
}
