package director

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// ReloadStatus is how the last reload went.
type ReloadStatus struct {
	Time  time.Time
	Error string // empty: it went well
}

// A Reload is what a reload changed.
type Reload struct {
	Added, Removed, Changed, Kept int // services
	// Ending says which services' established connections end, and how many.
	Ending []string
}

func (r Reload) String() string {
	return fmt.Sprintf("%d services added, %d removed, %d changed, %d as before", r.Added, r.Removed, r.Changed, r.Kept)
}

// Reload puts another setup in the place of the present one. What is known of
// the health of servers stays with those that are in both. Unless forced it is
// refused with ErrTooManyRemoved when it removes too much.
func (d *Director) Reload(setup *Setup, force bool) (r Reload, err error) {
	stopped := d.change(func(s *state) {
		if !force {
			err = s.setup.guard(setup)
		}
		if err == nil {
			err = s.refusedOf(setup)
		}
		if err == nil {
			r = s.replace(setup)
		}
		s.settle()
	})
	if stopped != nil {
		return r, stopped
	}
	if err != nil {
		d.ReloadFailed(err)
	}
	return r, err
}

// ErrNotHere refuses a reload that would leave a service that runs to nobody,
// because this machine cannot serve it as the next file asks.
type ErrNotHere struct{ Virtual, Why string }

func (e *ErrNotHere) Error() string {
	return fmt.Sprintf("virtual %s runs now and cannot any more: %s", e.Virtual, e.Why)
}

// refusedOf looks for a service that runs and that the next setup has no place
// for. One that does not run loses nothing by it.
func (s *state) refusedOf(next *Setup) error {
	if next.NoIPVS != nil {
		return nil // what ran in the kernel does not any more
	}
	for i := range next.Services {
		n := &next.Services[i]
		if v := s.services[n.Key()]; n.refused() && v != nil && !v.gone && !v.refused() {
			return &ErrNotHere{n.Name, n.Why}
		}
	}
	return nil
}

// ReloadFailed tells that a reload could not be made, the file being wrong.
func (d *Director) ReloadFailed(reason error) {
	_ = d.do(func(s *state) {
		s.reload = ReloadStatus{s.d.now(), reason.Error()}
		s.emit(Event{Kind: ReloadFailed, Reason: reason.Error()})
	})
}

// replace puts a setup in place and tells.
func (s *state) replace(setup *Setup) Reload {
	s.ending = nil
	r := s.swap(setup)
	r.Ending, s.ending = s.ending, nil
	s.newGlobals()
	s.reload = ReloadStatus{Time: s.d.now()}
	s.emit(Event{Kind: Reloaded, Attrs: []slog.Attr{slog.Int("added", r.Added), slog.Int("removed", r.Removed),
		slog.Int("changed", r.Changed), slog.Int("kept", r.Kept)}})
	return r
}

// swap puts a setup in place; what follows from it settle does.
func (s *state) swap(setup *Setup) (r Reload) {
	next := setup.byKey()
	var claimed []ipvs.ServiceKey
	for key, v := range s.services {
		if v.Manual != nil {
			if next[key] != nil {
				claimed = append(claimed, key)
			}
			continue
		}
		if next[key] == nil && !v.gone {
			v.leave(s)
			if !v.Path {
				r.Removed++
			}
		}
	}
	before, now := s.setup.checkedBy(), setup.checkedBy()
	s.setup = setup
	var fresh []*service
	for i := range setup.Services {
		key := setup.Services[i].Key()
		if v := s.take(&setup.Services[i], slices.EqualFunc(before[key], now[key], (*Subject).same), &r); v != nil {
			fresh = append(fresh, v)
		}
	}
	s.adoptNew(fresh)
	if len(claimed) > 0 {
		s.d.o.Claimed(claimed)
	}
	s.moveManual()
	s.countChecks()
	s.configure()
	s.save()
	s.touchAll()
	s.d.o.Subjects(s.subjects()) // now, for what is new to be checked while the kernel is made to have it
	return r
}

// leave has the service drain what it has and then go.
func (v *service) leave(s *state) {
	v.gone = true
	v.Servers, v.Fallback, s.all = nil, nil, nil
	s.emit(v.event(ServiceLeaving, netip.AddrPort{}, ""))
}

// take brings one service of the file in: a new one, which it returns, or one
// that is known. checked: by the same checks as before.
func (s *state) take(next *VirtualService, checked bool, r *Reload) (fresh *service) {
	v := s.services[next.Key()]
	if next.Path {
		r = &Reload{} // not counted
	}
	switch {
	case v == nil:
		v = newService(next)
		s.services[next.Key()] = v
		s.emit(v.event(ServiceAdded, netip.AddrPort{}, ""))
		r.Added++
		return v
	case v.gone, v.Manual != nil:
		r.Added++
	case checked && v.VirtualService.equal(next):
		r.Kept++
	default:
		r.Changed++
	}
	had, commanded := v.have, v.Manual != nil && next.Manual == nil
	v.update(s, next)
	if commanded { // its servers go on until they are checked
		have := v.have
		v.have = had
		s.adopt(v)
		v.have = have
	}
	return nil
}

// adoptNew takes what the kernel has for services that come in by a reload, as
// it is done at the start.
func (s *state) adoptNew(fresh []*service) {
	if len(fresh) == 0 {
		return
	}
	p := make(planes)
	for _, v := range fresh {
		p.ask(v.plane(s), v.Key())
	}
	l, _, err := (&look{of: p}).run(nil)
	if err != nil {
		return // the kernel is lost, which the next tick tells
	}
	for _, v := range fresh {
		v.have = l.dests[v.Key()]
		v.seen, v.there = l.services[v.Key()]
		s.adopt(v)
	}
}

// update gives a service another definition. Servers are known by their
// addresses: those that stay keep their health.
func (v *service) update(s *state, next *VirtualService) {
	for i := range v.Servers {
		a := v.Servers[i].Addr
		if next.server(ServerID{v.Key(), a}) == nil {
			s.emit(v.event(ServerRemoved, a, ""))
			delete(v.mem.Servers, a)
			delete(v.results, a)
		}
	}
	for i := range next.Servers {
		a := next.Servers[i].Addr
		if v.server(ServerID{v.Key(), a}) == nil {
			s.emit(v.event(ServerAdded, a, ""))
		}
	}
	switch {
	case v.refused() != next.refused():
		v.made, v.asked = nil, nil
	case (v.Proxy == nil) != (next.Proxy == nil):
		v.leaveBehind(s)
	}
	v.VirtualService, v.gone = *next, false
}

// Rebind puts a setup of the same file in place, whose host names have other
// addresses: no reload to anybody but the servers concerned.
func (d *Director) Rebind(setup *Setup) error {
	var err error
	stopped := d.change(func(s *state) {
		if err = s.refusedOf(setup); err == nil {
			s.swap(setup)
			s.ending = nil // the event says it
		}
		s.settle()
	})
	return errors.Join(stopped, err)
}
