package proxy

import (
	"errors"
	"iter"
	"maps"
	"slices"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// Changes: what Apply is asked to do, and what the engine made of it.

// Apply makes changes. The engine takes all of them at once; a service that it
// refuses stays as it was.
func (p *Plane) Apply(changes iter.Seq[ipvs.Change]) error {
	list := slices.Collect(changes)
	p.mu.Lock()
	defer p.mu.Unlock()
	next, failed := p.change(list)
	refused, err := p.serve(next)
	if err != nil {
		return &ipvs.OpError{Op: "apply changes", Err: err}
	}
	for k, err := range refused {
		failed = append(failed, blamed(list, k, err)...)
	}
	p.changed()
	if len(failed) > 0 {
		return &ipvs.BatchError{Failed: failed}
	}
	return nil
}

// edited are the services that something is changed of; nil: it is to go.
type edited map[ipvs.ServiceKey]*fullnat.Service

// serve has the engine serve these services, and tells which of them it refuses,
// which stay as they were.
func (p *Plane) serve(next edited) (refused map[ipvs.ServiceKey]error, err error) {
	if err := p.start(); err != nil {
		return nil, err
	}
	var want []fullnat.Service
	var gone []ipvs.ServiceKey
	for _, k := range slices.SortedFunc(maps.Keys(next), ipvs.ServiceKey.Compare) {
		if s := next[k]; s != nil {
			want = append(want, p.wanted(s))
		} else {
			gone = append(gone, k)
		}
	}
	err = p.engine.Change(want, gone)
	if errors.Is(err, fullnat.ErrClosed) {
		return nil, err
	}
	refused = refusedBy(err)
	for k, s := range next {
		switch {
		case refused[k] != nil:
		case s != nil:
			p.services[k] = s
		default:
			delete(p.services, k)
		}
	}
	return refused, nil
}

// blamed are the changes that a service's refusal concerns.
func blamed(list []ipvs.Change, k ipvs.ServiceKey, err error) (failed []*ipvs.OpError) {
	for i, c := range list {
		if c.Service.ServiceKey == k {
			failed = append(failed, &ipvs.OpError{Op: c.Op.String(), Object: c.Object(), Index: i, Err: err})
		}
	}
	return failed
}

// start starts the engine if it does not run.
func (p *Plane) start() error {
	if p.engine != nil {
		return nil
	}
	e, err := fullnat.New(fullnat.Config{Log: p.log, Unpinned: true, Inherited: p.o.Inherited, Paused: p.paused, Scheduling: &p.scheduling})
	if err != nil {
		return err
	}
	p.engine, p.o.Inherited = e, nil
	if p.timeouts != (ipvs.Timeouts{}) {
		e.SetTimeouts(p.timeouts)
	}
	return nil
}

// change is what services will be, and the changes that make no sense.
func (p *Plane) change(list []ipvs.Change) (next edited, failed []*ipvs.OpError) {
	next = make(edited)
	for i, c := range list {
		k := c.Service.ServiceKey
		if _, known := next[k]; !known {
			next[k] = nil
			if s := p.services[k]; s != nil {
				own := *s
				own.Destinations = slices.Clone(s.Destinations)
				next[k] = &own
			}
		}
		if err := one(next, c); err != nil {
			failed = append(failed, &ipvs.OpError{Op: c.Op.String(), Object: c.Object(), Index: i, Err: err})
		}
	}
	return next, failed
}

// one makes one change as the kernel does, with its errors.
func one(all edited, c ipvs.Change) error {
	k := c.Service.ServiceKey
	s := all[k]
	switch {
	case c.Op == ipvs.AddService && s != nil:
		return ipvs.ErrExists
	case c.Op == ipvs.AddService:
		all[k] = &fullnat.Service{Service: c.Service}
		return nil
	case s == nil:
		return ipvs.ErrNoService
	case c.Op == ipvs.UpdateService:
		s.Service = c.Service
		return nil
	case c.Op == ipvs.DeleteService:
		all[k] = nil
		return nil
	}
	i := slices.IndexFunc(s.Destinations, func(d ipvs.Destination) bool { return d.Addr == c.Destination.Addr })
	switch {
	case c.Op == ipvs.AddDestination && i >= 0:
		return ipvs.ErrExists
	case c.Op == ipvs.AddDestination:
		s.Destinations = append(s.Destinations, c.Destination)
	case i < 0:
		return ipvs.ErrNoDestination
	case c.Op == ipvs.UpdateDestination:
		s.Destinations[i] = c.Destination
	case c.Op == ipvs.DeleteDestination:
		s.Destinations = slices.Delete(s.Destinations, i, i+1)
	}
	return nil
}

// refusedBy are the services that the engine would not have.
func refusedBy(err error) map[ipvs.ServiceKey]error {
	out := make(map[ipvs.ServiceKey]error)
	for _, e := range flatten(err) {
		var op *fullnat.OpError
		if errors.As(e, &op) {
			if op.Service != (ipvs.ServiceKey{}) {
				out[op.Service] = op.Err
			}
		}
	}
	return out
}

func flatten(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
