package sched

import (
	"net/netip"
	"slices"
	"time"
)

// lblcr keeps a virtual address with a set of servers that grows when the best
// of them is crowded, and shrinks when it has not grown for long (ip_vs_lblcr.c).
type lblcr struct {
	stateless
	cache cache[serverSet]
}

// serverSet is in order of arrival, the newest first.
type serverSet struct {
	servers []*Server
	changed time.Duration
}

func newLBLCR(s *Service) scheduler {
	return &lblcr{stateless{s}, newCache(s.now, func(set *serverSet) {
		for _, d := range set.servers {
			d.cached--
		}
	})}
}

func (l *lblcr) choose(_, virtual netip.AddrPort) *Server {
	set := l.cache.get(l.Service, virtual.Addr())
	if set != nil {
		best := set.least()
		if l.now > after(set.changed, l.expiration()) {
			set.shrink(l.now) // perhaps by best, which is taken all the same
		}
		if best != nil && !l.crowded(best) {
			return best
		}
	}
	d := l.leastLoaded()
	if d == nil {
		return nil
	}
	if set == nil {
		set = l.cache.add(l.Service, virtual.Addr())
	}
	set.add(d, l.now)
	return d
}

func (l *lblcr) expiration() time.Duration {
	if e := l.settings.LBLCRExpiration; e != 0 {
		return e
	}
	return cacheDefault
}

func (l *lblcr) collect() time.Duration { return l.cache.collect(l.now, l.expiration()) }

func (l *lblcr) close() { l.cache.close() }

func (set *serverSet) add(d *Server, now time.Duration) {
	if slices.Contains(set.servers, d) {
		return
	}
	set.servers = slices.Insert(set.servers, 0, d)
	set.changed = now
	d.cached++
}

// least is the least loaded server that may be chosen (ip_vs_dest_set_min). Only
// the first has to have a weight: without one a later server cannot win.
func (set *serverSet) least() (best *Server) {
	for _, d := range set.servers {
		if d.overloaded || !d.available || best == nil && d.weight <= 0 {
			continue
		}
		if best == nil || heavier(best, d) {
			best = d
		}
	}
	return best
}

// shrink removes the most loaded server, if it is not the only one
// (ip_vs_dest_set_max, ip_vs_dest_set_erase).
func (set *serverSet) shrink(now time.Duration) {
	if len(set.servers) < 2 {
		return
	}
	var worst *Server
	for _, d := range set.servers {
		if d.weight > 0 && (worst == nil || heavier(d, worst)) {
			worst = d
		}
	}
	if i := slices.Index(set.servers, worst); i >= 0 {
		set.servers = slices.Delete(set.servers, i, i+1)
		worst.cached--
		set.changed = now
	}
}

// heavier tells whether a has more overhead for its weight than b.
func heavier(a, b *Server) bool {
	return int64(a.overhead())*int64(b.weight) > int64(b.overhead())*int64(a.weight)
}
