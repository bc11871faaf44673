package sched

import (
	"net/netip"
	"time"
)

// lblc keeps a virtual address with one server until that is crowded
// (ip_vs_lblc.c). The overload flag does not end it.
type lblc struct {
	stateless
	cache cache[*Server]
}

func newLBLC(s *Service) scheduler {
	return &lblc{stateless{s}, newCache(s.now, func(d **Server) { (*d).cached-- })}
}

func (l *lblc) choose(_, virtual netip.AddrPort) *Server {
	known := l.cache.get(l.Service, virtual.Addr())
	if known != nil {
		if d := *known; d.available && d.weight > 0 && !l.crowded(d) {
			return d
		}
	}
	d := l.leastLoaded()
	if d == nil {
		return nil
	}
	d.cached++
	if known != nil {
		(*known).cached--
	} else {
		known = l.cache.add(l.Service, virtual.Addr())
	}
	*known = d
	return d
}

func (l *lblc) collect() time.Duration {
	return l.cache.collect(l.now, l.settings.LBLCExpiration)
}

func (l *lblc) close() { l.cache.close() }
