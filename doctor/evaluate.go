package doctor

import (
	"cmp"
	"slices"
)

// fate is what may become of a packet: a set, because of matches that are not
// understood.
type fate uint8

const (
	accepted fate = 1 << iota
	dropped
	undecided
	returned
)

// judgement is the result of asking the ruleset about one packet.
type judgement struct {
	fate  fate
	chain Chain      // where the packet is dropped, if it is
	rule  FilterRule // the zero rule: by the chain's policy
}

func (j judgement) drops() bool   { return j.fate == dropped }
func (j judgement) unclear() bool { return j.fate == accepted|dropped }

// text says who drops the packet.
func (j judgement) text() string {
	where := j.chain.Backend + " " + j.chain.Table + " " + j.chain.Name
	if j.rule.Text == "" {
		return where + ", policy drop"
	}
	return where + ": " + j.rule.Text
}

// judge asks all chains of a hook: one that drops decides, one that accepts
// only ends its own.
func (w *Firewall) judge(hook string, p packet) judgement {
	result := judgement{fate: accepted}
	for _, c := range w.base(hook, p, false) {
		e := evaluation{w: w, packet: p, base: c}
		fate := e.chain(c, 0)
		if fate&(undecided|returned) != 0 {
			fate &^= undecided | returned
			if c.Drop {
				fate |= dropped
				if !e.found {
					e.result.chain = c
				}
			} else {
				fate |= accepted
			}
		}
		if fate&dropped == 0 {
			continue
		}
		if result.chain.Name == "" {
			result.chain, result.rule = e.result.chain, e.result.rule
		}
		result.fate |= dropped
		if fate&accepted == 0 {
			result.fate = dropped
			return result
		}
	}
	return result
}

// base are the chains of a hook that packets of the family go through, in the
// kernel's order.
func (w *Firewall) base(hook string, p packet, nat bool) (chains []Chain) {
	for _, c := range w.Chains {
		if c.Hook == hook && c.NAT == nat && (c.Family == 0 || c.Family == 6 == p.dst.Addr().Is6()) {
			chains = append(chains, c)
		}
	}
	slices.SortStableFunc(chains, func(a, b Chain) int { return cmp.Compare(a.Priority, b.Priority) })
	return chains
}

// evaluation walks one base chain and those it jumps to.
type evaluation struct {
	w      *Firewall
	packet packet
	base   Chain
	result judgement // the first rule that may drop
	found  bool
}

// deepest bounds jumps: the kernel refuses loops, but a listing is no snapshot.
const deepest = 16

func (e *evaluation) chain(c Chain, depth int) (result fate) {
	for _, r := range c.Rules {
		yes, maybe := r.holds(e.packet)
		if !yes && !maybe {
			continue
		}
		does := e.does(c, r, depth)
		result |= does &^ undecided
		if yes && does&undecided == 0 {
			return result
		}
	}
	return result | undecided
}

func (r FilterRule) holds(p packet) (yes, maybe bool) {
	yes = true
	for _, m := range r.Matches {
		y, may := m.holds(p)
		if !y && !may {
			return false, false
		}
		yes, maybe = yes && y, maybe || may
	}
	return yes, maybe
}

// does is what becomes of a packet that fulfils the rule.
func (e *evaluation) does(c Chain, r FilterRule, depth int) fate {
	switch r.Verdict {
	case Accept:
		return accepted
	case Drop:
		if !e.found {
			e.found, e.result.chain, e.result.rule = true, c, r
		}
		return dropped
	case Return:
		return returned
	case Unclear:
		return accepted | dropped | undecided
	case Jump, Goto:
		target, ok := e.target(c, r.Target)
		if !ok || depth >= deepest {
			return accepted | dropped | undecided
		}
		f := e.chain(target, depth+1)
		if r.Verdict == Jump && f&returned != 0 {
			f = f&^returned | undecided
		}
		if r.Verdict == Goto && f&(undecided|returned) != 0 {
			f = f&^undecided | returned
		}
		return f
	}
	return undecided
}

func (e *evaluation) target(from Chain, name string) (Chain, bool) {
	i := slices.IndexFunc(e.w.Chains, func(c Chain) bool {
		return c.Hook == "" && c.Backend == from.Backend && c.Family == from.Family && c.Table == from.Table && c.Name == name
	})
	if i < 0 {
		return Chain{}, false
	}
	return e.w.Chains[i], true
}

// rewrites finds the first rule of source NAT that applies to a packet, or may.
func (w *Firewall) rewrites(p packet) (found FilterRule, chain Chain, ok bool) {
	for _, c := range w.base("postrouting", p, true) {
		if r, ok := w.rewritesIn(c, p, 0); ok {
			return r, c, true
		}
	}
	return FilterRule{}, Chain{}, false
}

func (w *Firewall) rewritesIn(c Chain, p packet, depth int) (FilterRule, bool) {
	for _, r := range c.Rules {
		yes, maybe := r.holds(p)
		switch {
		case !yes && !maybe || depth > deepest:
		case r.Verdict == SNAT || r.Verdict == Masquerade:
			return r, true
		case r.Verdict == Jump || r.Verdict == Goto:
			e := evaluation{w: w}
			if t, ok := e.target(c, r.Target); ok {
				if r, ok := w.rewritesIn(t, p, depth+1); ok {
					return r, true
				}
			}
		case yes && (r.Verdict == Accept || r.Verdict == Return):
			return FilterRule{}, false
		}
	}
	return FilterRule{}, false
}
