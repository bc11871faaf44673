package sched

import "net/netip"

// nq never queues: it takes the first idle server, whatever its weight, and as
// sed does when none is idle (ip_vs_nq.c).
type nq struct{ sed }

func newNQ(s *Service) scheduler { return nq{sed{stateless{s}}} }

func (l nq) choose(client, virtual netip.AddrPort) *Server {
	for _, d := range l.list {
		if d.active == 0 && d.usable() {
			return d
		}
	}
	return l.sed.choose(client, virtual)
}
