package sched

import "net/netip"

// lc takes the server with the least connections (ip_vs_lc.c).
type lc struct{ stateless }

func newLC(s *Service) scheduler { return lc{stateless{s}} }

func (l lc) choose(_, _ netip.AddrPort) *Server {
	var best *Server
	var least uint32 // unsigned: a count that wrapped is a high one
	for _, d := range l.list {
		if !d.usable() {
			continue
		}
		if load := uint32(d.overhead()); best == nil || load < least {
			best, least = d, load
		}
	}
	return best
}
