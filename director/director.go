package director

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Options are those of a Director. Kernel is needed; of everything else the zero
// value works.
type Options struct {
	Kernel Kernel
	Proxy  Proxy        // runs services of full NAT in user space; nil: there must be none
	Log    *slog.Logger // nil: nothing is logged
	// SourceNAT serves those in the kernel; nil: there must be none.
	SourceNAT SourceNAT
	// Events hears of every event; nil: nobody does. It must not block.
	Events func(Event)
	// Subjects hears what is to be checked after every change of it; nil:
	// nobody checks. It must not block.
	Subjects func([]Subject)
	// Beat is called when the loop has been round; nil: nobody listens. It is
	// what a watchdog should be fed by.
	Beat func()
	// Command is asked to run a program of the operator's, in the order of the
	// calls for each service and for each server; nil: none is run. It must not wait for it.
	Command func(Command)
	// VIPs hears which virtual addresses belong on which interface, after every
	// change of that; nil: nobody sets them up. It must not block.
	VIPs func(map[netip.Addr]string)
	// Manual are the services that commands made in the last run.
	Manual ipvs.Table
	// Claimed hears which of them the file names and has from now on; nil: nobody
	// does.
	Claimed func([]ipvs.ServiceKey)
	// Paths hears which real servers answer checks by the path with the virtual
	// address, after every change of that; nil: nobody lets such answers in. It
	// must not block.
	Paths func([]netip.Addr)
	// Abort, when closed, ends the waiting of a stop that drains.
	Abort <-chan struct{}
	// Draining is called in each round of a stop that drains, with how many services
	// are left and how long those with a drain of their own may still take; nil:
	// nobody listens. It must not block.
	Draining func(services int, left time.Duration)
	// Saved is given what is to survive a restart, whenever it changed.
	Saved func(Persistent)
	// Restored is what survived the last one.
	Restored Persistent
	// Known is what the process knew that this one takes the place of; nil:
	// there is none, and what the kernel has is all that is known.
	Known *Knowledge
}

// A Director keeps the services of a Setup alive in a kernel. Run is its one
// goroutine, which owns all state; all other methods may be called from
// anywhere, and wait for it.
type Director struct {
	o     Options
	log   *slog.Logger
	inbox chan func(*state) // verdicts and orders
	asked chan func(*state) // questions, see ask
	done  chan struct{}
}

// ErrStopped is the error of a Director that no longer runs, or is about to end.
var ErrStopped = errors.New("the director has stopped")

// New makes a Director that has not been started.
func New(o Options) *Director {
	d := &Director{o: o, log: o.Log, inbox: make(chan func(*state), 64), asked: make(chan func(*state)), done: make(chan struct{})}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.o.Events == nil {
		d.o.Events = func(Event) {}
	}
	if d.o.Subjects == nil {
		d.o.Subjects = func([]Subject) {}
	}
	if d.o.Command == nil {
		d.o.Command = func(Command) {}
	}
	if d.o.VIPs == nil {
		d.o.VIPs = func(map[netip.Addr]string) {}
	}
	if d.o.Claimed == nil {
		d.o.Claimed = func([]ipvs.ServiceKey) {}
	}
	if d.o.Paths == nil {
		d.o.Paths = func([]netip.Addr) {}
	}
	if d.o.Beat == nil {
		d.o.Beat = func() {}
	}
	if d.o.Draining == nil {
		d.o.Draining = func(int, time.Duration) {}
	}
	if d.o.Saved == nil {
		d.o.Saved = func(Persistent) {}
	}
	return d
}

func (d *Director) now() time.Time { return time.Now() }

// idleTick is how often the loop comes round when no reconciling asks for more:
// ramps climb, overrides expire and drains end by it.
const idleTick = time.Second

// leastTick is the time between two looks at a kernel that takes as long to be
// looked at as it should be looked at again.
const leastTick = 50 * time.Millisecond

// Run adopts what the kernel has, makes it what the setup wants and keeps it so
// until ctx ends; then it does what the setup's OnStop says. It returns the
// error of a kernel that cannot be reached at the start; later that is an
// event, and the Director goes on when the kernel is back.
func (d *Director) Run(ctx context.Context, setup *Setup) error {
	defer close(d.done)
	s := newState(d, setup)
	if err := s.start(); err != nil {
		return err
	}
	tick := time.NewTimer(s.period())
	defer tick.Stop()
	var began time.Time // the tick
	for {
		select {
		case <-ctx.Done():
			return s.stop()
		case f := <-d.inbox:
			if !s.takeIn(f) {
				return ErrYielded
			}
		case answer := <-d.asked:
			if !s.takeIn(func(*state) {}) {
				return ErrYielded
			}
			answer(s)
		case <-tick.C:
			if s.looking == nil && s.round == nil {
				began = d.now()
			}
			if done := s.tick(s.busy); done {
				tick.Reset(max(s.period()-d.now().Sub(began), leastTick))
			} else {
				tick.Reset(0) // after what it was put off for
			}
		}
		d.o.Beat()
	}
}

// takeIn takes a verdict or an order, and what has come in behind it, and does what
// follows. It reports whether the Director goes on.
func (s *state) takeIn(f func(*state)) bool {
	if f(s); !s.yielded {
		s.drainInbox()
	}
	if !s.yielded {
		s.settle()
	}
	return !s.yielded
}

// drainInbox takes what has come in meanwhile, so that a thousand verdicts of
// one moment are one change of the kernel.
func (s *state) drainInbox() {
	for range cap(s.d.inbox) {
		select {
		case f := <-s.d.inbox:
			if f(s); s.yielded {
				return
			}
		default:
			return
		}
	}
}

// period is the time between two looks, a tenth less than reconcile says: by then
// what was found is to be repaired.
func (s *state) period() time.Duration {
	if r := s.setup.Settings.Reconcile * 9 / 10; r > 0 && r < idleTick {
		return r
	}
	return idleTick
}

// busy reports whether a verdict or an order waits for the Director.
func (s *state) busy() bool { return len(s.d.inbox) > 0 }

// do runs f on the Director's goroutine and waits for it.
func (d *Director) do(f func(*state)) error { return d.send(d.inbox, f) }

// ask is do for who only wants to know something. What verdicts and orders ask for
// is done before each answer: they never wait for more than the one that is being
// given, however many ask, and an answer tells of all that came before it.
func (d *Director) ask(f func(*state)) error { return d.send(d.asked, f) }

func (d *Director) send(to chan<- func(*state), f func(*state)) error {
	ready := make(chan struct{})
	select {
	case to <- func(s *state) { defer close(ready); f(s) }:
	case <-d.done:
		return ErrStopped
	}
	select {
	case <-ready:
		return nil
	case <-d.done:
		return ErrStopped
	}
}

// change is do for what would bring services back: a Director that drains all of
// them because it stops takes no more of it.
func (d *Director) change(f func(*state)) error {
	stopping := false
	err := d.do(func(s *state) {
		if stopping = s.stopping; !stopping {
			f(s)
		}
	})
	if stopping {
		return ErrStopped
	}
	return err
}

// Observe takes results of checks. It does not wait for what follows from them,
// but for room to put them.
func (d *Director) Observe(results []Result) {
	select {
	case d.inbox <- func(s *state) { s.observe(results) }:
	case <-d.done:
	}
}
