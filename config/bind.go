package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// Host is a name to be resolved, and of which family an address is wanted: zero
// for either.
type Host struct {
	Name   string
	Family ipvs.Family
}

// Hosts are the names of real servers and fallbacks, sorted, each once.
func (c *Config) Hosts() (out []Host) {
	for i := range c.Virtuals {
		v := &c.Virtuals[i]
		for _, list := range [][]Real{v.Reals, v.Fallback} {
			for j := range list {
				if list[j].Host != "" {
					out = append(out, v.hostOf(&list[j]))
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Host) int {
		if d := strings.Compare(a.Name, b.Name); d != 0 {
			return d
		}
		return int(a.Family) - int(b.Family)
	})
	return slices.Compact(out)
}

// hostOf is how the server's name must be resolved.
func (v *Virtual) hostOf(s *Real) Host {
	if s.Method == ipvs.Tunnel || s.Method == ipvs.FullNAT {
		return Host{Name: s.Host}
	}
	return Host{s.Host, v.Family()}
}

// Bind is c with the addresses that lookup has for its Hosts; the Host of such a
// Real stays, its Addr is set. Servers without an address are left out, and so
// is one whose address and port another server of its service has; both are
// told as problems, which keep nothing from working. c itself is not changed.
func (c *Config) Bind(lookup func(Host) (netip.Addr, bool)) (*Config, []Problem) {
	var told []Problem
	out := *c
	out.Virtuals = slices.Clone(c.Virtuals)
	for i := range out.Virtuals {
		v := &out.Virtuals[i]
		v.Reals = v.bind(v.Reals, lookup, &told)
		v.Fallback = v.bind(v.Fallback, lookup, &told)
	}
	return &out, told
}

func (v *Virtual) bind(list []Real, lookup func(Host) (netip.Addr, bool), told *[]Problem) (out []Real) {
	if !slices.ContainsFunc(list, func(s Real) bool { return s.Host != "" }) {
		return list
	}
	tell := func(s *Real, text string) {
		*told = append(*told, Problem{File: s.Pos.File, Line: s.Pos.Line, Text: v.Name + ": " + s.Target() + ": " + text})
	}
	seen := make(map[netip.AddrPort]bool, len(list))
	for _, s := range list { // addresses of the file go before those of names
		if s.Host == "" {
			seen[netip.AddrPortFrom(s.Addr, s.Port)] = true
		}
	}
	for _, s := range list {
		if s.Host == "" {
			out = append(out, s)
			continue
		}
		a, ok := lookup(v.hostOf(&s))
		if ok {
			s.Addr = a
		}
		at := netip.AddrPortFrom(a, s.Port)
		switch {
		case !ok:
			tell(&s, "the name has no address yet")
		case seen[at]:
			tell(&s, "another server of the service has the address "+at.String())
		default:
			seen[at] = true
			out = append(out, s)
		}
	}
	return out
}
