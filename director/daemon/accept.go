package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/sysctl"
)

// acceptEvery is how often routes and knobs are looked at again.
const acceptEvery = 5 * time.Second

// acceptor lets in the answers to checks by the path. A real server of DR or TUN
// answers from the VIP, which is the director's own address, and the kernel takes
// such packets for forged unless accept_local is set on the interface that they
// come in by (fib_validate_source in net/ipv4/fib_frontend.c). It is set where
// real servers that are checked so are, and set back when they no longer are.
type acceptor struct {
	log  *slog.Logger
	wake chan struct{}
	save func([]sysctl.Change) // what is to be undone by a later run
	host sysctl.Netns

	mu   sync.Mutex
	want []netip.Addr // nil: nobody has said yet

	made   []sysctl.Change
	failed map[string]string // and said so
}

func newAcceptor(made []sysctl.Change, save func([]sysctl.Change), log *slog.Logger) *acceptor {
	return &acceptor{log: log, wake: make(chan struct{}, 1), save: save, made: made, failed: make(map[string]string)}
}

// set says which real servers are to be heard; it does not wait.
func (a *acceptor) set(servers []netip.Addr) {
	a.mu.Lock()
	a.want = append([]netip.Addr{}, servers...)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run keeps knobs set until ctx ends. It leaves them: what becomes of them at the
// end the director decides, by wanting none.
func (a *acceptor) run(ctx context.Context) {
	tick := time.NewTicker(acceptEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			a.once()
			return
		case <-a.wake:
		case <-tick.C:
		}
		a.once()
	}
}

func (a *acceptor) once() {
	a.mu.Lock()
	want := a.want
	a.mu.Unlock()
	if want == nil || len(want) == 0 && len(a.made) == 0 {
		return
	}
	links := make(map[string]bool)
	for _, server := range want {
		link, err := healthcheck.LinkTo(server)
		if err == nil && link != "" && link != "lo" {
			links[link] = true
		}
	}
	for link := range links {
		a.allow(link)
	}
	if len(want) > 0 && len(links) == 0 {
		return // our link is down: nothing is known of where they are
	}
	for _, c := range slices.Clone(a.made) {
		if _, link, _, _ := c.Knob.Conf(); !links[link] {
			a.undo(c)
		}
	}
}

// allow sets the knob of an interface where neither it nor that of all is set.
func (a *acceptor) allow(link string) {
	for _, dev := range []string{"all", link} {
		if v, err := a.host.Get(sysctl.Conf4(dev, "accept_local")); err == nil && v == "1" {
			return
		}
	}
	knob := sysctl.Conf4(link, "accept_local")
	c, err := a.host.Preview(knob, "1")
	if err == nil {
		// Remembered first: who kills us in between leaves nothing that is not undone.
		a.keep(append(a.without(knob), c))
		_, err = a.host.Set(knob, "1")
	}
	if err == nil {
		a.log.Info(director.LocalAccepted.Brief, "event", director.LocalAccepted.Name, "knob", knob.String())
		delete(a.failed, link)
		return
	}
	a.keep(a.without(knob))
	if a.failed[link] != err.Error() {
		a.failed[link] = err.Error()
		a.log.Error(director.LocalFailed.Brief, "event", director.LocalFailed.Name, "err", err)
	}
}

// undo sets a knob back, unless somebody else has set it since.
func (a *acceptor) undo(c sysctl.Change) {
	if err := a.host.Undo(c); err != nil {
		a.log.Warn(director.LocalRefused.Brief, "event", director.LocalRefused.Name, "err", err)
	} else {
		a.log.Info(director.LocalRefused.Brief, "event", director.LocalRefused.Name, "knob", c.Knob.String())
	}
	a.keep(a.without(c.Knob))
}

func (a *acceptor) without(k sysctl.Knob) []sysctl.Change {
	return slices.DeleteFunc(slices.Clone(a.made), func(c sysctl.Change) bool { return c.Knob == k })
}

func (a *acceptor) keep(list []sysctl.Change) {
	a.made = list
	a.save(slices.Clone(list))
}
