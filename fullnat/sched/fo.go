package sched

import "net/netip"

// fo takes the server with the highest weight as long as it may (ip_vs_fo.c).
type fo struct{ stateless }

func newFO(s *Service) scheduler { return fo{stateless{s}} }

func (f fo) choose(_, _ netip.AddrPort) (best *Server) {
	for _, d := range f.list {
		if d.usable() && (best == nil || d.weight > best.weight) {
			best = d
		}
	}
	return best
}
