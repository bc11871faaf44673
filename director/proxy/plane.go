// Package proxy shows the full NAT engine to the director as one more kernel: it
// is read, planned for and changed as IPVS is.
package proxy

import (
	"errors"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// Plane is an engine with the methods of a kernel. It starts the engine with the
// first service, so that a daemon without full NAT has none.
type Plane struct {
	log *slog.Logger

	mu       sync.Mutex
	engine   *fullnat.Engine
	state    fullnat.State // of the last run, until the engine has it
	timeouts ipvs.Timeouts
	services map[ipvs.ServiceKey]*fullnat.Service // never changed, only replaced
	options  map[ipvs.ServiceKey]fullnat.Options  // of the director's
	manual   map[ipvs.ServiceKey]string           // see manual.go
}

// New returns a Plane without services. The state is that of the last run; the
// zero value is none.
func New(state fullnat.State, log *slog.Logger) *Plane {
	return &Plane{log: log, state: state, services: make(map[ipvs.ServiceKey]*fullnat.Service), manual: make(map[ipvs.ServiceKey]string)}
}

// SetOptions says how services are served, for those that Apply adds and those
// that there are.
func (p *Plane) SetOptions(o map[ipvs.ServiceKey]fullnat.Options) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.options = o
	if p.engine == nil {
		return nil
	}
	return p.engine.Apply(p.wanted(p.services))
}

// SetTimeouts is the engine's, for when it runs.
func (p *Plane) SetTimeouts(t ipvs.Timeouts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timeouts = t
	if p.engine != nil {
		p.engine.SetTimeouts(t)
	}
}

// State is what clients would notice if the next process did not know it.
func (p *Plane) State() fullnat.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine == nil {
		return p.state
	}
	return p.engine.State()
}

// Close ends the engine and its connections.
func (p *Plane) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine != nil {
		p.engine.Close()
		p.engine = nil
	}
}

func (p *Plane) wanted(services map[ipvs.ServiceKey]*fullnat.Service) []fullnat.Service {
	out := make([]fullnat.Service, 0, len(services))
	for _, k := range slices.SortedFunc(maps.Keys(services), ipvs.ServiceKey.Compare) {
		s := *services[k]
		if o, ok := p.options[k]; ok {
			s.Options = o
		}
		out = append(out, s)
	}
	return out
}

// Services lists the services as a kernel does.
func (p *Plane) Services() ([]ipvs.ServiceInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]ipvs.ServiceInfo, 0, len(p.services))
	for k, s := range p.services {
		info := ipvs.ServiceInfo{Service: s.Service}
		if live, ok := p.live(k); ok {
			info.Stats = live.Stats
		}
		out = append(out, info)
	}
	return out, nil
}

func (p *Plane) live(k ipvs.ServiceKey) (fullnat.ServiceInfo, bool) {
	if p.engine == nil {
		return fullnat.ServiceInfo{}, false
	}
	return p.engine.Service(k)
}

// Destinations appends the servers of a service as a kernel does.
func (p *Plane) Destinations(k ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.services[k]
	if s == nil {
		return buf, &ipvs.OpError{Op: "list destinations", Object: k.String(), Err: ipvs.ErrNoService}
	}
	live, _ := p.live(k)
	for _, d := range s.Destinations {
		buf = append(buf, destinationOf(d, &live))
	}
	return buf, nil
}

func destinationOf(d ipvs.Destination, live *fullnat.ServiceInfo) ipvs.DestinationInfo {
	info := ipvs.DestinationInfo{Destination: d}
	i := slices.IndexFunc(live.Destinations, func(l fullnat.DestinationInfo) bool { return l.Addr == d.Addr })
	if i >= 0 {
		info = live.Destinations[i].DestinationInfo
		info.Destination = d
	}
	return info
}

// Apply makes changes. The engine takes all of them at once; a service that it
// refuses stays as it was.
func (p *Plane) Apply(changes iter.Seq[ipvs.Change]) error {
	list := slices.Collect(changes)
	p.mu.Lock()
	defer p.mu.Unlock()
	next, failed := p.change(list, one)
	refused, err := p.serve(next)
	if err != nil {
		return &ipvs.OpError{Op: "apply changes", Err: err}
	}
	for k, err := range refused {
		failed = append(failed, blamed(list, k, err)...)
		if old := p.services[k]; old != nil {
			next[k] = old
		} else {
			delete(next, k)
		}
	}
	p.services = next
	if len(failed) > 0 {
		return &ipvs.BatchError{Failed: failed}
	}
	return nil
}

// serve has the engine serve these services, and tells which of them it refuses.
func (p *Plane) serve(services map[ipvs.ServiceKey]*fullnat.Service) (refused map[ipvs.ServiceKey]error, err error) {
	fresh := p.engine == nil
	if err := p.start(); err != nil {
		return nil, err
	}
	refused = refusedBy(p.engine.Apply(p.wanted(services)))
	if fresh {
		p.engine.Restore(p.state)
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
	e, err := fullnat.New(fullnat.Config{Log: p.log, Unpinned: true})
	if err != nil {
		return err
	}
	p.engine = e
	if p.timeouts != (ipvs.Timeouts{}) {
		e.SetTimeouts(p.timeouts)
	}
	return nil
}

// change is what the services will be, and the changes that make no sense.
func (p *Plane) change(list []ipvs.Change, one func(map[ipvs.ServiceKey]*fullnat.Service, ipvs.Change) error) (map[ipvs.ServiceKey]*fullnat.Service, []*ipvs.OpError) {
	next := maps.Clone(p.services)
	var failed []*ipvs.OpError
	for i, c := range list {
		if s := next[c.Service.ServiceKey]; s != nil && s == p.services[c.Service.ServiceKey] {
			own := *s
			own.Destinations, own.Options.Locals = slices.Clone(s.Destinations), slices.Clone(s.Options.Locals)
			next[c.Service.ServiceKey] = &own
		}
		if err := one(next, c); err != nil {
			failed = append(failed, &ipvs.OpError{Op: c.Op.String(), Object: c.Object(), Index: i, Err: err})
		}
	}
	return next, failed
}

// one makes one change as the kernel does, with its errors.
func one(all map[ipvs.ServiceKey]*fullnat.Service, c ipvs.Change) error {
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
		delete(all, k)
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

// refusedBy are the services that the engine would not have, by their keys'
// text in its errors.
func refusedBy(err error) map[ipvs.ServiceKey]error {
	out := make(map[ipvs.ServiceKey]error)
	for _, e := range flatten(err) {
		var op *fullnat.OpError
		if errors.As(e, &op) {
			if k, ok := parseKey(op.Object); ok {
				out[k] = op.Err
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

// parseKey reads "tcp 192.0.2.10:80".
func parseKey(text string) (k ipvs.ServiceKey, ok bool) {
	for _, p := range []ipvs.Protocol{ipvs.TCP, ipvs.UDP} {
		if addr, is := strings.CutPrefix(text, p.String()+" "); is {
			a, err := netip.ParseAddrPort(addr)
			return ipvs.AddrService(p, a), err == nil
		}
	}
	return k, false
}
