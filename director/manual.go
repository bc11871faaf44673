package director

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
)

// Services of full NAT that commands make (goipvs -A --fullnat, -a -b, -P) are
// kept alive beside those of the file: they have a plane by the same rules, are
// mended, shown and drained like them. Nobody checks their real servers, whose
// weights are what commands say, and a reload leaves them alone until the file
// names one.

// manual is the service of an entry on a machine.
func manual(e *ipvs.Entry, m Machine) *VirtualService {
	c := &config.Virtual{Service: e.Service, Forward: ipvs.FullNAT}
	c.FullNAT = config.FullNAT{Plane: config.Plane(e.Service.Plane.String()), Local: e.Locals, ProxyProtocol: e.Service.Proxy.String()}
	for _, d := range e.Destinations {
		c.Reals = append(c.Reals, config.Real{Addr: d.Addr.Addr(), Port: d.Addr.Port()})
	}
	choice := Choose(c, m)
	v := &VirtualService{Name: e.Service.ServiceKey.String(), Service: e.Service, UncheckedUp: true, Plane: choice.Plane, Why: choice.Why, Manual: e}
	v.Service.FullNAT, v.Service.Proxy, v.Service.Plane = false, ipvs.NoProxy, ipvs.PlaneAuto // neither plane knows
	switch choice.Plane {
	case config.PlaneKernel:
		v.Locals = localsOf(c)
	case config.PlaneUserspace:
		v.Proxy = &fullnat.Options{Locals: e.Locals, ProxyProtocol: e.Service.Proxy}
	}
	for _, d := range e.Destinations {
		v.Servers = append(v.Servers, RealServer{Name: d.Addr.String(), Destination: v.place(d)})
	}
	return v
}

// bring adds the services that commands made in the last run.
func (s *state) bring(t ipvs.Table) {
	var claimed []ipvs.ServiceKey
	for i := range t {
		k := t[i].Service.ServiceKey
		if s.services[k] != nil {
			claimed = append(claimed, k)
			continue
		}
		s.services[k] = newService(manual(&t[i], s.setup.machine()))
	}
	if len(claimed) > 0 {
		s.d.o.Claimed(claimed)
	}
}

// moveManual gives services of commands the plane that this setup's machine has
// for them.
func (s *state) moveManual() {
	for _, v := range s.services {
		if v.Manual == nil || v.gone {
			continue
		}
		if next := manual(v.Manual, s.setup.machine()); !next.equal(&v.VirtualService) {
			v.update(s, next)
		}
	}
}

// Beside is the Director between two of its steps, for who changes services of
// commands or lists them. It is good until the function that got it returns.
type Beside struct{ s *state }

// Beside runs f between two steps of the Director.
func (d *Director) Beside(f func(Beside)) error {
	return d.do(func(s *state) { f(Beside{s}) })
}

// Look is Beside for who only looks: it keeps nobody else waiting, see ask.
func (d *Director) Look(f func(Beside)) error {
	return d.ask(func(s *state) { f(Beside{s}) })
}

// Named reports whether the file has the service, or had it and it is leaving.
func (b Beside) Named(k ipvs.ServiceKey) bool {
	v := b.s.services[k]
	return v != nil && v.Manual == nil
}

// Manual is a service that commands made, nil when there is none. It must not be
// changed.
func (b Beside) Manual(k ipvs.ServiceKey) *ipvs.Entry {
	if v := b.s.services[k]; v != nil && !v.gone {
		return v.Manual
	}
	return nil
}

// Runs is the plane of a service of full NAT; PlaneAuto: none.
func (b Beside) Runs(k ipvs.ServiceKey) ipvs.Plane {
	if v := b.s.services[k]; v != nil {
		return v.listed().Runs
	}
	return ipvs.PlaneAuto
}

// ManualTable is all that commands made, in order.
func (b Beside) ManualTable() (t ipvs.Table) {
	for _, k := range b.s.keys() {
		if e := b.Manual(k); e != nil {
			t = append(t, *e)
		}
	}
	return t
}

// Put makes services of commands be so, all of them or none; nil takes one away.
// It returns what was refused, and why. The entries are the Director's from then
// on.
func (b Beside) Put(next map[ipvs.ServiceKey]*ipvs.Entry, m Machine) (refused map[ipvs.ServiceKey]error) {
	if b.s.stopping {
		refused = make(map[ipvs.ServiceKey]error, len(next))
		for k := range next {
			refused[k] = ErrStopped
		}
		return refused
	}
	before := make(map[ipvs.ServiceKey]*ipvs.Entry, len(next))
	b.s.ending = nil
	for k := range next {
		before[k] = b.Manual(k)
	}
	if refused = b.s.put(next, m); len(refused) > 0 {
		b.s.put(before, m)
		return refused
	}
	forgotten := false
	for k, e := range next {
		forgotten = b.s.forgetOverrides(before[k], e) || forgotten
	}
	if forgotten {
		b.s.save()
	}
	return refused
}

// Ending says which services' established connections end by the last Put, and
// how many.
func (b Beside) Ending() (all []string) {
	all, b.s.ending = b.s.ending, nil
	return all
}

// put makes services so and tells what did not work.
func (s *state) put(next map[ipvs.ServiceKey]*ipvs.Entry, m Machine) (refused map[ipvs.ServiceKey]error) {
	refused = make(map[ipvs.ServiceKey]error)
	s.nat.refusal.again = time.Time{} // whoever asks is answered, and not with what was before
	for _, k := range slices.SortedFunc(maps.Keys(next), ipvs.ServiceKey.Compare) {
		v := s.services[k]
		switch {
		case next[k] != nil:
			if err := s.putOne(manual(next[k], m)); err != nil {
				refused[k] = err
			}
		case v != nil && v.Manual != nil && !v.gone:
			v.leave(s)
		}
		s.dirty[k] = true
	}
	s.settle()
	for k, e := range next {
		if err := s.services[k].failed(s, m, e != nil); err != nil && refused[k] == nil {
			refused[k] = err
		}
	}
	return refused
}

// putOne brings one definition in.
func (s *state) putOne(next *VirtualService) error {
	s.take(next, true, &Reload{})
	v := s.services[next.Key()]
	v.asked, v.refusal, v.failure = nil, refusal{}, nil // whoever asks is answered, and not with what was before
	s.maintain(v)
	for i := range v.Servers {
		a := v.Servers[i].Addr
		v.mem.Server(a).Override = s.overrides[ServerID{v.Key(), a}]
	}
	if v.Proxy == nil || s.d.o.Proxy == nil {
		return nil
	}
	return s.d.o.Proxy.SetOption(v.Key(), *v.Proxy)
}

// failed is why a service is not as it was asked for: there, or gone.
func (v *service) failed(s *state, m Machine, there bool) error {
	switch {
	case v == nil, there && v.made != nil:
		return nil
	case there && v.refused():
		if why := v.hopeless(m); why != "" {
			return fmt.Errorf("it cannot be served here: %s", why)
		}
		return nil
	case v.failure != nil:
		return v.failure
	case v.refusal.text != "":
		return errors.New(v.refusal.text)
	case s.lost != nil:
		return s.lost
	}
	return errors.New("nothing is known of the kernel's answer")
}

// hopeless is why a refused service can never be served here. One that is empty
// waits, as commands come one after the other: it is judged as if it had a local
// address.
func (v *service) hopeless(m Machine) string {
	e := v.Manual
	if e == nil || len(e.Locals)+len(e.Destinations) > 0 {
		return v.Why
	}
	whole := *e
	whole.Locals = []netip.Addr{netip.IPv4Unspecified()}
	if e.Service.AF() == ipvs.IPv6 {
		whole.Locals[0] = netip.IPv6Unspecified()
	}
	if next := manual(&whole, m); next.refused() {
		return next.Why
	}
	return ""
}

// FullNAT is a service of full NAT as listings show it.
type FullNAT struct {
	// Entry is what is wanted; destinations are those of full NAT, with the
	// weights that count now.
	ipvs.Entry
	Runs    ipvs.Plane // PlaneAuto: in none, it cannot be served here
	Managed bool       // the file's
	// SourceNAT is how its connections are known where it runs in the kernel.
	SourceNAT snat.Service
}

// FullNAT are the services of full NAT, in order: all, or only one.
func (b Beside) FullNAT(only func(ipvs.ServiceKey) bool) (all []FullNAT) {
	for _, k := range b.s.keys() {
		v := b.s.services[k]
		if v.Path || !only(k) || !v.fullNAT() && v.Manual == nil {
			continue
		}
		all = append(all, v.listed())
	}
	return all
}

func (v *service) listed() FullNAT {
	f := FullNAT{Entry: ipvs.Entry{Service: v.Service}, Managed: v.Manual == nil}
	s := &f.Service
	s.FullNAT = true
	switch {
	case v.Proxy != nil:
		f.Runs, f.Locals, s.Proxy = ipvs.PlaneUserspace, v.Proxy.Locals, v.Proxy.ProxyProtocol
	case len(v.Locals) > 0:
		f.Runs, f.Locals, f.SourceNAT = ipvs.PlaneKernel, v.Locals, v.sourceNAT()
	}
	if v.Manual != nil {
		*s, f.Locals = v.Manual.Service, v.Manual.Locals
		s.FullNAT = true
	} else if v.Why == asAsked {
		s.Plane = f.Runs
	}
	if f.Runs == ipvs.PlaneAuto {
		f.Destinations = v.Manual.Destinations
		return f
	}
	there := byAddr(v.decision.Entry)
	for i := range v.Servers {
		d, in := there[v.Servers[i].Addr]
		if !in {
			d = v.Servers[i].Destination
			d.Weight = 0 // out of the table, and still one of the service's
		}
		if in || v.Manual != nil {
			d.Method = ipvs.FullNAT
			f.Destinations = append(f.Destinations, d)
		}
	}
	return f
}

// locals are the source addresses of full NAT.
func (v *service) locals() (out []string) {
	list := v.Locals
	if v.Proxy != nil {
		list = v.Proxy.Locals
	}
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}

// forgetOverrides drops what operators said of servers that a command took away:
// one that comes back is another one.
func (s *state) forgetOverrides(before, now *ipvs.Entry) (some bool) {
	if before == nil {
		return false
	}
	left := make(map[netip.AddrPort]bool)
	if now != nil {
		for _, d := range now.Destinations {
			left[d.Addr] = true
		}
	}
	for _, d := range before.Destinations {
		id := ServerID{before.Service.ServiceKey, d.Addr}
		if _, said := s.overrides[id]; said && !left[d.Addr] {
			delete(s.overrides, id)
			some = true
		}
	}
	return some
}
