package ipvs

import (
	"net/netip"
	"slices"
)

// Plan lists the changes that turn have into want, and no others. It is pure.
//
// Everything that adds comes first: new services with their destinations, then
// for the services that stay their new properties, new local addresses, new
// destinations and raised ones. What lowers follows, then removed destinations, then removed services,
// whose destinations go with them. So at no step, wherever the sequence may
// stop, does a service have less to offer than in the lesser of have and want.
//
// Services are in the order of their keys. New destinations keep want's order,
// since the kernel remembers it and some schedulers choose by it. Where a table
// names something twice, the last one counts.
func Plan(have, want Table) []Change {
	p := newPlan(have, want)
	return slices.Concat(p.raises, p.lowers, p.removals)
}

func newPlan(have, want Table) *planner {
	p := &planner{have: index(have)}
	for _, i := range sorted(want) {
		p.service(&want[i])
	}
	wanted := want.Keys()
	for _, i := range sorted(have) {
		if !wanted[have[i].Service.ServiceKey] {
			p.remove(DeleteService, &have[i], Destination{})
		}
	}
	return p
}

type planner struct {
	have                     map[ServiceKey]*Entry
	raises, lowers, removals []Change

	old, seen map[netip.AddrPort]Destination // of the service in hand
}

func (p *planner) service(want *Entry) {
	have := p.have[want.Service.ServiceKey]
	if have == nil {
		p.raise(AddService, want, Destination{})
		have = &Entry{}
	} else if have.Service != want.Service {
		p.raise(UpdateService, want, Destination{})
	}
	p.locals(have, want)
	p.destinations(have, want)
}

// locals come before the destinations that are reached from them, and go after.
func (p *planner) locals(have, want *Entry) {
	for i, a := range want.Locals {
		if !slices.Contains(have.Locals, a) && !slices.Contains(want.Locals[:i], a) {
			p.raises = append(p.raises, Change{Op: AddLocal, Service: want.Service, Local: a})
		}
	}
	for _, a := range have.Locals {
		if !slices.Contains(want.Locals, a) {
			p.removals = append(p.removals, Change{Op: DeleteLocal, Service: want.Service, Local: a})
		}
	}
}

func (p *planner) destinations(have, want *Entry) {
	p.old, p.seen = destinations(p.old, have), destinations(p.seen, want)
	for _, d := range want.Destinations {
		d, isLast := p.seen[d.Addr]
		if !isLast {
			continue // named twice, planned already
		}
		p.destination(want, d)
		delete(p.seen, d.Addr)
		delete(p.old, d.Addr)
	}
	for _, d := range have.Destinations {
		if _, left := p.old[d.Addr]; left {
			p.remove(DeleteDestination, have, d)
			delete(p.old, d.Addr)
		}
	}
}

func (p *planner) destination(want *Entry, d Destination) {
	old, exists := p.old[d.Addr]
	switch {
	case !exists:
		p.raise(AddDestination, want, d)
	case old == d:
	case lowers(old, d):
		p.lowers = append(p.lowers, Change{Op: UpdateDestination, Service: want.Service, Destination: d})
	default:
		p.raise(UpdateDestination, want, d)
	}
}

// lowers reports whether d takes fewer connections than old did.
func lowers(old, d Destination) bool {
	return d.Weight < old.Weight || d.Upper != 0 && (old.Upper == 0 || d.Upper < old.Upper)
}

func (p *planner) raise(op Op, e *Entry, d Destination) {
	p.raises = append(p.raises, Change{Op: op, Service: e.Service, Destination: d})
}

// remove files a removal; destinations go before services because Plan walks
// the wanted services first.
func (p *planner) remove(op Op, e *Entry, d Destination) {
	p.removals = append(p.removals, Change{Op: op, Service: e.Service, Destination: d})
}

// normal drops what a destination's method does not use, as the kernel does
// not say whether it kept it.
func normal(d Destination) Destination {
	if d.Method != Tunnel {
		d.Encap = Encap{}
	}
	return d
}

func destinations(m map[netip.AddrPort]Destination, e *Entry) map[netip.AddrPort]Destination {
	if m == nil {
		m = make(map[netip.AddrPort]Destination)
	}
	clear(m)
	for _, d := range e.Destinations {
		m[d.Addr] = normal(d)
	}
	return m
}

func index(t Table) map[ServiceKey]*Entry {
	m := make(map[ServiceKey]*Entry, len(t))
	for i := range t {
		m[t[i].Service.ServiceKey] = &t[i]
	}
	return m
}

// sorted returns the positions of t's services in the order of their keys, the
// last of those named twice only.
func sorted(t Table) []int {
	last := make(map[ServiceKey]int, len(t))
	for i := range t {
		last[t[i].Service.ServiceKey] = i
	}
	order := make([]int, 0, len(last))
	for i := range t {
		if last[t[i].Service.ServiceKey] == i {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return t[a].Service.ServiceKey.Compare(t[b].Service.ServiceKey)
	})
	return order
}
