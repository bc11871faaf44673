package sched

import (
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
)

// What the scheduler's bits of a service mean to sh and mh.
const (
	flagFallback = ipvs.Sched1 // take another server when the client's own is not usable
	flagPort     = ipvs.Sched2 // the client's port counts, too
)

const shBits = 8

// sh sends a client always to the same server, by a table of 256 buckets
// (ip_vs_sh.c). The table is made from the list and the weights when it is next
// needed; what connections do does not change it.
type sh struct {
	stateless
	stale bool
	table [1 << shBits]*Server
}

func newSH(s *Service) scheduler { return &sh{stateless: stateless{s}, stale: true} }

func (h *sh) added()      { h.stale = true }
func (h *sh) updated()    { h.stale = true }
func (h *sh) deleted(int) { h.stale = true }

// assign goes round the list and gives every server as many buckets in a row as
// its weight, and one to those of weight 0 (ip_vs_sh_reassign).
func (h *sh) assign() {
	h.stale = false
	clear(h.table[:])
	for i, bucket := 0, 0; len(h.list) > 0 && bucket < len(h.table); i++ {
		d := h.list[i%len(h.list)]
		for range min(max(int(d.weight), 1), len(h.table)-bucket) {
			h.table[bucket] = d
			bucket++
		}
	}
}

func (h *sh) choose(client, _ netip.AddrPort) *Server {
	if h.stale {
		h.assign()
	}
	start := mul(h.clientHash(client), shBits)
	if d := h.table[start]; d != nil && d.usable() {
		return d
	}
	if h.config.Flags&flagFallback == 0 {
		return nil
	}
	// The kernel adds the start twice (ip_vs_sh_get_fallback).
	for o := range uint32(len(h.table)) {
		if d := h.table[uint8(o+start+start)]; d != nil && d.usable() {
			return d
		}
	}
	return nil
}

// clientHash is what sh and mh go by.
func (s *Service) clientHash(client netip.AddrPort) uint32 {
	x := fold(s.family, client.Addr())
	if s.config.Flags&flagPort != 0 {
		x += uint32(client.Port())
	}
	return x
}
