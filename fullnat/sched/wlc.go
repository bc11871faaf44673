package sched

import "net/netip"

// wlc takes the server with the least connections for its weight (ip_vs_wlc.c).
type wlc struct{ stateless }

func newWLC(s *Service) scheduler { return wlc{stateless{s}} }

func (l wlc) choose(_, _ netip.AddrPort) *Server { return l.leastLoaded() }

// leastLoaded is the choice of wlc, lblc and lblcr: the least overhead/weight,
// compared by cross products in 64 bits, the first in the list of equals.
func (s *Service) leastLoaded() *Server {
	var best *Server
	var load, weight int64
	for _, d := range s.list {
		if !d.usable() {
			continue
		}
		l, w := int64(d.overhead()), int64(d.weight)
		if best == nil || load*w > l*weight {
			best, load, weight = d, l, w
		}
	}
	return best
}
