package sched

import "net/netip"

const dhBits = 8

// dh sends a virtual address always to the same server (ip_vs_dh.c), which is of
// use to a firewall-mark service with several. Weights do not count.
type dh struct {
	stateless
	stale bool
	table [1 << dhBits]*Server
}

func newDH(s *Service) scheduler { return &dh{stateless: stateless{s}, stale: true} }

func (h *dh) added()      { h.stale = true }
func (h *dh) deleted(int) { h.stale = true }

func (h *dh) choose(_, virtual netip.AddrPort) *Server {
	if h.stale {
		h.stale = false
		clear(h.table[:])
		for i := range h.table {
			if n := len(h.list); n > 0 {
				h.table[i] = h.list[i%n]
			}
		}
	}
	if d := h.table[mul(fold(h.family, virtual.Addr()), dhBits)]; d != nil && d.usable() {
		return d
	}
	return nil
}
