package proxy

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// Beside the director's services a Plane has those that were made by commands,
// as others' services are in a kernel. Plane.manual has their keys, each with why
// the engine does not serve it ("" for those that it serves): one that a start
// brings back and whose address is taken stays, and is tried again.

var (
	errMethod  = errors.New("the service is full NAT's, and so are its real servers: -b")
	errNoLocal = fmt.Errorf("%w: it has no such local address", ipvs.ErrNoDestination)
)

const notYet = "not started"

// Bring adds the services that commands made in the last run, before the first
// Apply. Start has the engine serve them.
func (p *Plane) Bring(manual ipvs.Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range manual {
		e := &manual[i]
		k := e.Service.ServiceKey
		s := &fullnat.Service{Service: e.Service, Destinations: e.Destinations}
		s.Options.Locals, s.Options.ProxyProtocol = e.Locals, e.Service.Proxy
		p.services[k], p.manual[k] = s, notYet
	}
}

// Retry has the engine serve those services of commands that it did not serve
// so far, and tells of which that is news: why, or "" for one that is served now.
func (p *Plane) Retry() map[ipvs.ServiceKey]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := false
	for _, reason := range p.manual {
		idle = idle || reason != ""
	}
	if !idle {
		return nil
	}
	refused, err := p.serve(p.services)
	news := make(map[ipvs.ServiceKey]string)
	for k, old := range p.manual {
		reason := ""
		if r := errors.Join(err, refused[k]); r != nil {
			reason = r.Error()
		}
		p.manual[k] = reason
		if reason != old && (reason != "" || old != notYet) {
			news[k] = reason
		}
	}
	p.changed()
	return news
}

// Manual are the services that commands made, in order.
func (p *Plane) Manual() ipvs.Table {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := make(ipvs.Table, 0, len(p.manual))
	for _, k := range slices.SortedFunc(maps.Keys(p.manual), ipvs.ServiceKey.Compare) {
		s := p.services[k]
		t = append(t, ipvs.Entry{Service: s.Service, Destinations: s.Destinations, Locals: s.Options.Locals})
	}
	return t
}

// Has reports whether there is a service, of whomever.
func (p *Plane) Has(k ipvs.ServiceKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.services[k] != nil
}

// Claim takes from commands the services that named has: they are the file's
// from now on. Those that the file serves by full NAT too go on with their
// connections, the others end. It returns their keys.
func (p *Plane) Claim(named func(ipvs.ServiceKey) bool) (taken []ipvs.ServiceKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := false
	for k := range p.manual {
		if !named(k) {
			continue
		}
		taken = append(taken, k)
		delete(p.manual, k)
		if _, ours := p.options[k]; !ours {
			p.services = maps.Clone(p.services)
			delete(p.services, k)
			gone = true
		}
	}
	if gone && p.engine != nil {
		_, _ = p.serve(p.services) // nothing new that could be refused
		p.changed()
	}
	slices.SortFunc(taken, ipvs.ServiceKey.Compare)
	return taken
}

// Edit makes the changes of a command, all of them or none: what is not possible
// is returned, with its place in the list. commit, unless nil, is called when
// all is done and undoes it by an error.
func (p *Plane) Edit(list []ipvs.Change, commit func() error) (failed []*ipvs.OpError, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, failed := p.change(list, edit)
	if len(failed) > 0 {
		return failed, nil
	}
	for _, c := range list {
		if p.services[c.Service.ServiceKey] == nil {
			delete(p.options, c.Service.ServiceKey) // of one that the director had
		}
	}
	refused, err := p.serve(next)
	if err != nil {
		return nil, err
	}
	for k, why := range refused {
		failed = append(failed, blamed(list, k, why)...)
	}
	if len(failed) == 0 && commit != nil {
		err = commit()
	}
	if err != nil || len(failed) > 0 {
		_, undone := p.serve(p.services)
		return failed, errors.Join(err, undone)
	}
	p.services = next
	for _, c := range list {
		if k := c.Service.ServiceKey; next[k] != nil {
			p.manual[k] = ""
		} else {
			delete(p.manual, k)
		}
	}
	p.changed()
	return nil, nil
}

// edit is one for what only commands change.
func edit(all map[ipvs.ServiceKey]*fullnat.Service, c ipvs.Change) error {
	s := all[c.Service.ServiceKey]
	switch c.Op {
	case ipvs.AddService, ipvs.UpdateService:
		c.Service.FullNAT = true
	case ipvs.AddDestination, ipvs.UpdateDestination:
		switch d := &c.Destination; {
		case s == nil:
		case d.Method != ipvs.FullNAT:
			return errMethod
		case d.Lower > d.Upper: // ip_vs_add_dest in ip_vs_ctl.c
			return ipvs.ErrRange
		}
	case ipvs.AddLocal, ipvs.DeleteLocal:
		if s == nil {
			return ipvs.ErrNoService
		}
		return local(&s.Options, c)
	}
	if err := one(all, c); err != nil {
		return err
	}
	s = all[c.Service.ServiceKey]
	if s == nil {
		return nil
	}
	s.Options.ProxyProtocol = s.Proxy
	if c.Op == ipvs.AddService || c.Op == ipvs.UpdateService {
		bare := fullnat.Service{Service: s.Service, Options: s.Options}
		return bare.Check()
	}
	return nil
}

func local(o *fullnat.Options, c ipvs.Change) error {
	i := slices.Index(o.Locals, c.Local)
	switch {
	case c.Op == ipvs.AddLocal && i >= 0:
		return ipvs.ErrExists
	case c.Op == ipvs.AddLocal:
		o.Locals = append(o.Locals, c.Local)
	case i < 0:
		return errNoLocal
	default:
		o.Locals = slices.Delete(o.Locals, i, i+1)
	}
	return nil
}

// List is everything, as a listing of commands shows it.
func (p *Plane) List() (services []ipvs.ServiceInfo, dests map[ipvs.ServiceKey][]ipvs.DestinationInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	dests = make(map[ipvs.ServiceKey][]ipvs.DestinationInfo, len(p.services))
	for _, k := range slices.SortedFunc(maps.Keys(p.services), ipvs.ServiceKey.Compare) {
		s := p.services[k]
		info := ipvs.ServiceInfo{Service: s.Service}
		_, byCommand := p.manual[k]
		o, named := p.options[k]
		if !named {
			o = s.Options
		}
		info.FullNAT, info.Proxy, info.Managed = true, o.ProxyProtocol, !byCommand
		live, ok := p.live(k)
		if ok {
			info.Stats = live.Stats
		}
		for _, a := range o.Locals {
			l := ipvs.LocalInfo{Addr: a}
			for i := range live.Locals {
				if live.Locals[i].Addr == a {
					l.Conns, l.Conflicts = live.Locals[i].Conns, live.Locals[i].Conflicts
				}
			}
			info.Locals = append(info.Locals, l)
		}
		services = append(services, info)
		dests[k] = destinationsOf(nil, s, &live)
		for i := range dests[k] {
			dests[k][i].Method = ipvs.FullNAT // also where NAT runs as full NAT
		}
	}
	return services, dests
}

// Connections are those of all services.
func (p *Plane) Connections() []fullnat.Connection {
	p.mu.Lock()
	e := p.engine
	p.mu.Unlock()
	if e == nil {
		return nil
	}
	return e.Connections()
}

// Zero sets the counters of one service to zero, or of all for the zero key.
func (p *Plane) Zero(k ipvs.ServiceKey) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case k != ipvs.ServiceKey{} && p.services[k] == nil:
		return ipvs.ErrNoService
	case p.engine == nil:
	case k == ipvs.ServiceKey{}:
		p.engine.Zero()
	default:
		return p.engine.ZeroService(k)
	}
	return nil
}
