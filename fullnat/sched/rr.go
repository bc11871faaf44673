package sched

import (
	"net/netip"
	"slices"
)

// rr goes round the list (ip_vs_rr.c). Of weights only zero matters.
type rr struct {
	stateless
	cur int // position of the last choice, -1 before the first server
}

func newRR(s *Service) scheduler { return &rr{stateless{s}, -1} }

func (r *rr) added() {
	if r.cur >= 0 {
		r.cur++
	}
}

// deleted leaves cur where it was, or on its predecessor if it is the one.
func (r *rr) deleted(i int) {
	if i <= r.cur {
		r.cur--
	}
}

func (r *rr) choose(_, _ netip.AddrPort) *Server {
	next := r.cur + 1
	i := slices.IndexFunc(r.list[next:], (*Server).usable)
	if i >= 0 {
		i += next
	} else if i = slices.IndexFunc(r.list[:next], (*Server).usable); i < 0 {
		return nil
	}
	r.cur = i
	return r.list[i]
}
