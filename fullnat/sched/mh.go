package sched

import (
	"math/bits"
	"net/netip"
)

// The kernel's table has one of eleven prime sizes, chosen when it is built;
// this is the default (CONFIG_IP_VS_MH_TAB_INDEX 12).
const (
	mhSize      = 4093
	mhTurnsBits = 6 // half the index: nobody takes more than 63 slots in a turn
	mhKey1      = 2654435761
	mhKey2      = 2654446892
)

// mh is Maglev hashing (ip_vs_mh.c; Eisenbud et al., NSDI 2016): like sh, but a
// change of servers moves few clients. A server keeps its slots while its weight
// is 0. The table is made when it is next needed.
type mh struct {
	stateless
	stale bool
	table []*Server // mhSize of them
	walks []mhWalk
}

// mhWalk is the order in which a server wants slots, and how many at a time.
type mhWalk struct{ pos, skip, turns uint32 }

func newMH(s *Service) scheduler {
	return &mh{stateless: stateless{s}, stale: true, table: make([]*Server, mhSize)}
}

func (h *mh) added()      { h.stale = true }
func (h *mh) updated()    { h.stale = true }
func (h *mh) deleted(int) { h.stale = true }
func (h *mh) limit() int  { return mhSize }

// assign is ip_vs_mh_reassign.
func (h *mh) assign() {
	h.stale = false
	clear(h.table)
	if !h.prepare() {
		return
	}
	for taken := 0; ; {
		for i := range h.walks {
			w := &h.walks[i]
			for range w.turns {
				for h.table[w.pos] != nil {
					w.pos = (w.pos + w.skip) % mhSize
				}
				h.table[w.pos] = h.list[i]
				if taken++; taken == mhSize {
					return
				}
			}
		}
	}
}

// prepare makes the walks and tells whether anybody wants slots.
func (h *mh) prepare() bool {
	var divisor, highest int32
	for _, d := range h.list {
		divisor, highest = gcd(divisor, d.lastWeight), max(highest, d.lastWeight)
	}
	if divisor == 0 {
		return false
	}
	shift := max(0, bits.Len32(uint32(highest/divisor))-mhTurnsBits)
	h.walks = h.walks[:0]
	for _, d := range h.list {
		key := fold(h.family, d.config.Addr.Addr()) + uint32(d.config.Addr.Port())
		w := mhWalk{pos: sip(key, mhKey1) % mhSize, skip: sip(key, mhKey2)%(mhSize-1) + 1}
		if d.lastWeight > 0 {
			w.turns = max(1, uint32(d.lastWeight/divisor)>>shift)
		}
		h.walks = append(h.walks, w)
	}
	return true
}

func (h *mh) choose(client, _ netip.AddrPort) *Server {
	if h.stale {
		h.assign()
	}
	x := h.clientHash(client)
	start := sip(x, mhKey1) % mhSize
	if d := h.table[start]; d != nil && d.usable() {
		return d
	}
	if h.config.Flags&flagFallback == 0 || !h.anyUsable() {
		return nil
	}
	for o := range uint32(mhSize) {
		if d := h.table[sip(x+(o+start)%mhSize, mhKey1)%mhSize]; d != nil && d.usable() {
			return d
		}
	}
	return nil
}

// anyUsable spares thousands of hashes when there is nobody to be found.
func (h *mh) anyUsable() bool {
	for _, d := range h.list {
		if d.usable() {
			return true
		}
	}
	return false
}
