package director

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// tick looks at the kernel and decides everything anew: somebody may have
// changed the table, and time itself changes what is wanted.
// It is broken off, and reports so, when busy says that somebody waits; nil:
// nobody ever does. The next call goes on where it was, a little at least.
func (s *state) tick(busy func() bool) (done bool) {
	if s.round == nil {
		if err := s.inspect(busy); err != nil {
			return !errors.Is(err, errPutOff) // said by look; the next tick tries again
		}
		s.retire()
		s.round = &round{now: s.d.now(), rest: s.keys()}
		s.watchHold(s.round.now)
	}
	if !s.round.goOn(s, busy) {
		return false
	}
	decided := s.round.differ
	s.round = nil
	s.settleWith(decided)
	return true
}

// round is a decision about all services that may be broken off between two.
type round struct {
	now    time.Time // of all decisions
	rest   []ipvs.ServiceKey
	differ []*service // the kernel is to be asked for something
}

// leastDecided is how many services are decided about at a time.
const leastDecided = 16

// goOn decides, and reports whether all is done.
func (r *round) goOn(s *state, busy func() bool) (done bool) {
	for len(r.rest) > 0 {
		some := r.rest[:min(leastDecided, len(r.rest))]
		r.rest = r.rest[len(some):]
		for _, key := range some {
			switch v := s.services[key]; {
			case v == nil || s.dirty[key]:
			case v.reconsider(s, r.now):
				r.differ = append(r.differ, v)
			default:
				v.tell(s, r.now)
			}
		}
		if busy != nil && busy() {
			return len(r.rest) == 0
		}
	}
	return true
}

// inspect looks at the kernel, where that is wanted, and for what others did
// there.
func (s *state) inspect(busy func() bool) error {
	s.expire()
	was := s.lost
	if s.setup.Settings.Reconcile > 0 || s.waits() || s.lost != nil {
		if err := s.look(busy); err != nil {
			return err
		}
		if !s.unsettled { // what a listing lacks may be there
			s.findDrift()
		}
		s.findSourceNATDrift()
		s.findDivertDrift()
	}
	if set := &s.setup.Settings; was != nil || set.Reconcile > 0 && !set.ReportDrift {
		s.globals()
	}
	return nil
}

// waits reports whether connections of something that leaves must be counted.
func (s *state) waits() bool {
	for _, v := range s.services {
		if v.gone || v.decision.Leaving > 0 || len(v.mem.Leaving) > 0 {
			return true
		}
	}
	return false
}

// look reads what the kernel has of our services.
func (s *state) look(busy func() bool) error {
	p := planes{s.d.o.Kernel: {}} // asked even for nothing: is it there?
	for key, v := range s.services {
		k := v.plane(s)
		p.ask(k, key)
		if v.Proxy != nil && k != s.d.o.Kernel {
			p[s.d.o.Kernel][key] = false // it would take its connections
			if every, is := everyPort(key); is && !p[s.d.o.Kernel][every] {
				p[s.d.o.Kernel][every] = false
			}
		}
	}
	if s.looking == nil || !s.looking.asks(p) {
		s.looking = &look{of: p, last: s.last}
	}
	l, settled, err := s.looking.run(busy)
	if errors.Is(err, errPutOff) {
		return err
	}
	s.looking = nil
	if s.reached(err); err != nil {
		s.last = nil
		return err
	}
	if s.settled(settled); settled {
		s.last = l
	} else {
		s.last = nil
	}
	for key, v := range s.services {
		v.have, v.seen, v.shadowed = l.dests[key], l.services[key], l.also[key]
		v.covered = v.Proxy != nil && s.covers(l, key)
		if _, v.there = l.services[key]; !v.there {
			v.have = nil
		} else if v.gone && v.Service.Scheduler == "" {
			v.Service = v.seen.Service
		}
	}
	return nil
}

// everyPort is the service of every port of a service's address, if it has one
// port.
func everyPort(k ipvs.ServiceKey) (every ipvs.ServiceKey, is bool) {
	return ipvs.AddrService(k.Protocol, netip.AddrPortFrom(k.Addr.Addr(), 0)), k.FWMark == 0 && k.Addr.Port() != 0
}

// covers reports whether the kernel has a service of every port of an address, to
// which it gives the packets of one that has no service of its own there
// (ip_vs_service_find in ip_vs_ctl.c), whatever socket waits for them.
func (s *state) covers(l *listing, key ipvs.ServiceKey) bool {
	every, is := everyPort(key)
	_, there := l.services[every]
	v := s.services[every]
	return is && (l.also[every] || there && v.Proxy == nil)
}

// settled takes note of whether listings can be believed, and says so when they
// no longer can.
func (s *state) settled(yes bool) {
	if !yes && !s.unsettled {
		s.emit(Event{Kind: Unsettled})
	}
	s.unsettled = !yes
}

// reached takes note of whether the kernel answers, and says so when it changes.
func (s *state) reached(err error) {
	switch {
	case err != nil && (s.lost == nil || s.lost.Error() != err.Error()):
		s.emit(Event{Kind: KernelLost, Reason: err.Error()})
	case err == nil && s.lost != nil:
		s.emit(Event{Kind: KernelBack})
	}
	s.lost = err
}

// findDrift tells what others did to our services: where the kernel is not as
// we last made it.
func (s *state) findDrift() {
	for _, key := range s.keys() {
		v := s.services[key]
		v.findShadow(s)
		if v.made == nil || v.gone || v.drift == "" && v.asMade() {
			continue
		}
		var have ipvs.Table
		if _, there := s.last.services[key]; there {
			have = ipvs.Table{s.last.entry(key)}
		}
		// What would undo it tells what was done.
		text := driftText(ipvs.Plan(have, ipvs.Table{*v.made}))
		if text != "" && text != v.drift {
			e := v.event(Drift, netip.AddrPort{}, text)
			e.Attrs = []slog.Attr{slog.Bool("repaired", !s.setup.Settings.ReportDrift)}
			s.emit(e)
		}
		v.drift = text
	}
}

// findShadow looks for a service of user space in the kernel, which takes its
// connections before its sockets see them. The service is ours to say where it
// runs, so it goes. One of every port of the address may be wanted: who has made
// both hears of it.
func (v *service) findShadow(s *state) {
	text := v.shadow()
	repaired := text == shadowText && !s.setup.Settings.ReportDrift
	if text != "" && text != v.shadowTold {
		e := v.event(Drift, netip.AddrPort{}, text)
		e.Attrs = []slog.Attr{slog.Bool("repaired", repaired)}
		s.emit(e)
	}
	if v.shadowTold = text; repaired {
		v.former = &former{plane: s.d.o.Kernel, since: s.d.now().Add(-idleTick)}
	}
}

// shadow is what of the kernel takes the service's connections; empty: nothing.
func (v *service) shadow() string {
	switch {
	case v.gone || v.former != nil:
	case v.shadowed:
		return shadowText
	case v.covered:
		return coveredText
	}
	return ""
}

const (
	shadowText  = "the kernel has the service, too, and takes its connections"
	coveredText = "the kernel has a service of every port of this address, which takes its connections: both have to be in one plane"
)

// asMade reports whether the kernel has just what it was made to hold: the usual
// case, and quickly told.
func (v *service) asMade() bool {
	if v.seen.Service != v.made.Service || len(v.have) != len(v.made.Destinations) {
		return false
	}
	last := len(v.have) - 1
	for i := range v.have { // the kernel lists the newest first
		if v.have[i].Destination != v.made.Destinations[i] && v.have[i].Destination != v.made.Destinations[last-i] {
			return false
		}
	}
	return true
}

// driftText says what was done to a service, from the changes that would undo
// it.
func driftText(undo []ipvs.Change) string {
	const most = 3
	text := ""
	for i, c := range undo {
		if i == most {
			return fmt.Sprintf("%s and %d more", text, len(undo)-most)
		}
		if i > 0 {
			text += ", "
		}
		text += done(c)
	}
	return text
}

// done names what somebody did, from the change that undoes it.
func done(undo ipvs.Change) string {
	switch undo.Op {
	case ipvs.AddService:
		return "service removed"
	case ipvs.UpdateService:
		return "service changed"
	case ipvs.AddDestination:
		return undo.Destination.Addr.String() + " removed"
	case ipvs.UpdateDestination:
		return undo.Destination.Addr.String() + " changed"
	case ipvs.DeleteDestination:
		return undo.Destination.Addr.String() + " added"
	}
	return undo.String()
}

// lostOnly is the error of a kernel that cannot be reached, nil for any other.
func lostOnly(err error) error {
	if isLost(err) {
		return err
	}
	return nil
}

// isLost reports whether an error of the kernel says that nothing can be done
// there, rather than that it refused something.
func isLost(err error) bool {
	var batch *ipvs.BatchError
	return err != nil && !errors.As(err, &batch) && !errors.Is(err, ipvs.ErrUnsettled)
}
