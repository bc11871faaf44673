package sched

import "net/netip"

// sed takes the server with the shortest expected delay: the least (active+1) /
// weight (ip_vs_sed.c).
type sed struct{ stateless }

func newSED(s *Service) scheduler { return sed{stateless{s}} }

func (l sed) choose(_, _ netip.AddrPort) *Server {
	var best *Server
	var load, weight int64
	for _, d := range l.list {
		if !d.usable() {
			continue
		}
		l, w := int64(d.active+1), int64(d.weight)
		if best == nil || load*w > l*weight {
			best, load, weight = d, l, w
		}
	}
	return best
}
