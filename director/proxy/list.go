package proxy

import (
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// Listings: the engine's services, servers and counters as a kernel tells them.

// Conns is how many connections there are.
func (p *Plane) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine == nil {
		return 0
	}
	return p.engine.Conns()
}

// Limit is how many connections there can be, and Errors what went wrong; 0 and
// nothing before the first service.
func (p *Plane) Limit() (most int, errs fullnat.Errors) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine == nil {
		return 0, fullnat.Errors{}
	}
	return p.engine.Limit(), p.engine.Errors()
}

// wanted is a service with how it is to be served.
func (p *Plane) wanted(s *fullnat.Service) fullnat.Service {
	out := *s
	if o, ok := p.options[s.ServiceKey]; ok {
		out.Options = o
	}
	return out
}

// Services lists the services as a kernel does.
func (p *Plane) Services() ([]ipvs.ServiceInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]ipvs.ServiceInfo, 0, len(p.services))
	for _, s := range p.services {
		out = append(out, p.info(s))
	}
	return out, nil
}

// Locals are the local addresses of a service, with their counts.
func (p *Plane) Locals(k ipvs.ServiceKey) (all []ipvs.LocalInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	live, _ := p.live(k)
	for i := range live.Locals {
		l := &live.Locals[i]
		all = append(all, ipvs.LocalInfo{Addr: l.Addr, Conns: l.Conns, Conflicts: l.Conflicts})
	}
	return all
}

// Service is one service as a kernel lists it.
func (p *Plane) Service(k ipvs.ServiceKey) (ipvs.ServiceInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.services[k]
	if s == nil {
		return ipvs.ServiceInfo{}, &ipvs.OpError{Op: "read service", Object: k.String(), Err: ipvs.ErrNoService}
	}
	return p.info(s), nil
}

// info is a service with what the engine counts.
func (p *Plane) info(s *fullnat.Service) ipvs.ServiceInfo {
	info := ipvs.ServiceInfo{Service: s.Service}
	if live, ok := p.live(s.ServiceKey); ok {
		info.Stats = live.Stats
	}
	return info
}

func (p *Plane) live(k ipvs.ServiceKey) (fullnat.ServiceInfo, bool) {
	if p.engine == nil {
		return fullnat.ServiceInfo{}, false
	}
	return p.engine.Service(k)
}

// Failures are how often connecting to each server of a service has failed since
// it was added.
func (p *Plane) Failures(k ipvs.ServiceKey) map[netip.AddrPort]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	live, _ := p.live(k)
	out := make(map[netip.AddrPort]uint64, len(live.Destinations))
	for i := range live.Destinations {
		out[live.Destinations[i].Addr] = live.Destinations[i].Failures
	}
	return out
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
	return destinationsOf(buf, s, &live), nil
}

// destinationsOf appends the servers of a service, newest first as in the
// kernel, with what the engine counts.
func destinationsOf(buf []ipvs.DestinationInfo, s *fullnat.Service, live *fullnat.ServiceInfo) []ipvs.DestinationInfo {
	counts := make(map[netip.AddrPort]*ipvs.DestinationInfo, len(live.Destinations))
	for i := range live.Destinations {
		counts[live.Destinations[i].Addr] = &live.Destinations[i].DestinationInfo
	}
	for _, d := range slices.Backward(s.Destinations) {
		info := ipvs.DestinationInfo{}
		if now := counts[d.Addr]; now != nil {
			info = *now
		}
		info.Destination = d
		buf = append(buf, info)
	}
	return buf
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
