package doctor

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Firewall is the packet filter of the host: that of nftables and the old
// tables of iptables alike.
type Firewall struct {
	Known  bool // false: it could not be read
	Chains []Chain
}

// Chain is a list of rules. One with a Hook is where packets come in.
type Chain struct {
	Backend  string // nftables, iptables, ip6tables
	Family   int    // 4, 6, or 0 for both
	Table    string
	Name     string
	Hook     string // prerouting, input, forward, output, postrouting; or ""
	NAT      bool   // of the type nat, which sees only packets that conntrack knows
	Priority int
	Drop     bool // the policy, for packets that no rule decides about
	Rules    []FilterRule
}

// FilterRule does Verdict to packets that fulfil all matches.
type FilterRule struct {
	Matches []Match
	Verdict Verdict
	Target  string     // chain to jump or go to
	To      netip.Addr // of SNAT
	Ports   int        // of SNAT, how many the rule names; 0: it names none
	Mark    uint32
	Text    string // for people
}

// Verdict is what a rule does.
type Verdict uint8

// Continue is anything that decides nothing. Unclear may decide anything.
const (
	Continue Verdict = iota
	Accept
	Drop
	Jump
	Goto
	Return
	SNAT
	Masquerade
	SetMark
	NoTrack
	ClampMSS
	Unclear
)

// Match: a field of the packet, masked, lies in one of the ranges, or with Not
// in none. Two bytes strings of different length are compared as far as the
// shorter goes, as names of interfaces are.
type Match struct {
	Field  Field
	Mask   []byte // nil: all
	Ranges []Range
	Not    bool
}

// Range is inclusive.
type Range struct{ From, To []byte }

// Field is what a match looks at. The zero value is something that is not
// understood, so that the match may or may not be fulfilled.
type Field uint8

// The fields. CTState is a mask in the machine's order, as are marks; CTVIP is
// the destination that the client addressed.
const (
	Other Field = iota
	Source
	Destination
	SourcePort
	DestinationPort
	L4Proto
	NFProto
	InIface
	OutIface
	CTState
	PacketMark
	CTVIP
)

// Bits of CTState (NF_CT_STATE_BIT in the kernel).
const (
	ctInvalid     = 1
	ctEstablished = 2
	ctNew         = 8
)

// packet is a packet that the ruleset is asked about. What is zero is unknown.
type packet struct {
	proto    uint8
	src, dst netip.AddrPort
	in, out  string
	state    uint32
	vip      netip.Addr
}

func (p packet) field(f Field) []byte {
	switch f {
	case Source:
		return p.src.Addr().AsSlice()
	case Destination:
		return p.dst.Addr().AsSlice()
	case SourcePort:
		return port(p.src)
	case DestinationPort:
		return port(p.dst)
	case L4Proto:
		return []byte{p.proto}
	case NFProto:
		if p.dst.Addr().Is6() {
			return []byte{10}
		}
		return []byte{2}
	case InIface:
		return iface(p.in)
	case OutIface:
		return iface(p.out)
	case CTState:
		return binary.NativeEndian.AppendUint32(nil, p.state)
	case CTVIP:
		if p.vip.IsValid() {
			return p.vip.AsSlice()
		}
	}
	return nil
}

func port(a netip.AddrPort) []byte {
	if a.Port() == 0 {
		return nil
	}
	return binary.BigEndian.AppendUint16(nil, a.Port())
}

// iface is the name and the byte that ends it, so that eth0 is not eth01.
func iface(name string) []byte {
	if name == "" {
		return nil
	}
	return append([]byte(name), 0)
}

// holds tells whether a packet fulfils a match: yes, or maybe, or neither.
func (m Match) holds(p packet) (yes, maybe bool) {
	v := p.field(m.Field)
	if m.Field == Other || v == nil {
		return false, true
	}
	if m.Mask != nil {
		if len(m.Mask) != len(v) {
			return m.Not, false
		}
		v = slices.Clone(v)
		for i := range v {
			v[i] &= m.Mask[i]
		}
	}
	in := slices.ContainsFunc(m.Ranges, func(r Range) bool { return r.contains(v, m.Field == InIface || m.Field == OutIface) })
	return in != m.Not, false
}

func (r Range) contains(v []byte, prefix bool) bool {
	if prefix {
		// The kernel compares names with the zeros behind them.
		return bytes.HasPrefix(append(slices.Clone(v), make([]byte, max(0, len(r.From)-len(v)))...), r.From)
	}
	if len(v) != len(r.From) {
		return false
	}
	return bytes.Compare(r.From, v) <= 0 && bytes.Compare(v, r.To) <= 0
}

func exactly(v []byte) []Range { return []Range{{v, v}} }

// ClampsMSS tells whether some rule sets the MSS of TCP.
func (w *Firewall) ClampsMSS() bool {
	return slices.ContainsFunc(w.Chains, func(c Chain) bool {
		return slices.ContainsFunc(c.Rules, func(r FilterRule) bool { return r.Verdict == ClampMSS })
	})
}

// to are the addresses that a rule is for, the first one of a network or range;
// none: it does not say, or names what it is not for.
func (r *FilterRule) to() (all []netip.Addr) {
	for _, m := range r.Matches {
		for _, x := range m.Ranges {
			if a, ok := netip.AddrFromSlice(x.From); ok && m.Field == Destination && !m.Not {
				all = append(all, a)
			}
		}
	}
	return all
}

// Marks are the firewall marks that rules set.
func (w *Firewall) Marks() (marks []uint32) {
	for _, c := range w.Chains {
		for _, r := range c.Rules {
			if r.Verdict == SetMark {
				marks = append(marks, r.Mark)
			}
		}
	}
	return marks
}
