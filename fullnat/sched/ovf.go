package sched

import "net/netip"

// ovf takes the server with the highest weight until it has more active
// connections than that, then the next (ip_vs_ovf.c). It so takes one more than
// its weight; inactive ones do not count.
type ovf struct{ stateless }

func newOVF(s *Service) scheduler { return ovf{stateless{s}} }

func (o ovf) choose(_, _ netip.AddrPort) (best *Server) {
	for _, d := range o.list {
		if d.usable() && d.active <= d.weight && (best == nil || d.weight > best.weight) {
			best = d
		}
	}
	return best
}
