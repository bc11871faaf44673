package doctor_test

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
)

// filterSpec is a packet filter of one chain, installed by iptables' own
// interface or as nft(8) does: user-mode Linux has no nf_tables for IP.
type filterSpec struct {
	table string // filter, nat, mangle; "keepalived" is one of nftables only
	hook  string // prerouting, input, forward, postrouting
	drop  bool   // the policy
	rules []ruleSpec
}

// ruleSpec is a rule; what is zero is not asked for.
type ruleSpec struct {
	from, to netip.Addr
	proto    byte
	port     uint16
	states   byte       // 1 invalid, 2 established, 4 related, 8 new
	vip      netip.Addr // that the client addressed
	verdict  string     // accept, drop, reject, masquerade, mark, snat
	mark     uint32
	lip      netip.Addr // of snat
	ports    [2]uint16  // of snat: from, to
}

// filter installs a packet filter on a host; the other function removes it.
func (s *site) filter(h *topo.Host, c filterSpec) (install, remove func()) {
	if lab.Kind() == "uml" {
		return func() { s.t.Helper(); s.must(h.Do(func() error { return replaceTable(c) })) },
			func() { s.t.Helper(); s.must(h.Do(func() error { return replaceTable(filterSpec{table: c.table}) })) }
	}
	commit := func(f func(*nftables.Conn)) {
		s.t.Helper()
		s.must(h.Do(func() error {
			n, err := nftables.New()
			if err != nil {
				return err
			}
			f(n)
			return n.Flush()
		}))
	}
	table := &nftables.Table{Name: c.table, Family: nftables.TableFamilyIPv4}
	return func() { s.t.Helper(); commit(func(n *nftables.Conn) { c.nft(n, table) }) },
		func() { s.t.Helper(); commit(func(n *nftables.Conn) { n.DelTable(table) }) }
}

func (c filterSpec) nft(n *nftables.Conn, table *nftables.Table) {
	hook := map[string]*nftables.ChainHook{"prerouting": nftables.ChainHookPrerouting, "input": nftables.ChainHookInput,
		"forward": nftables.ChainHookForward, "postrouting": nftables.ChainHookPostrouting}[c.hook]
	kind := nftables.ChainTypeFilter
	if c.table == "nat" {
		kind = nftables.ChainTypeNAT
	}
	policy := nftables.ChainPolicyAccept
	if c.drop {
		policy = nftables.ChainPolicyDrop
	}
	t := n.AddTable(table)
	b := n.AddChain(&nftables.Chain{Name: "base", Table: t, Type: kind, Hooknum: hook, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	for _, r := range c.rules {
		n.AddRule(&nftables.Rule{Table: t, Chain: b, Exprs: r.exprs()})
	}
}

// filtered is a fault of a packet filter.
func (s *site) filtered(want, name string, h *topo.Host, o doctor.Options, c filterSpec) fault {
	install, remove := s.filter(h, c)
	return fault{want: want, name: name, on: h, opts: o, do: install, undo: remove}
}

// exprs are the expressions that nft(8) makes of a rule.
func (r ruleSpec) exprs() (all []expr.Any) {
	address := func(a netip.Addr, offset uint32) {
		if a.IsValid() {
			all = append(all, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()})
		}
	}
	address(r.from, 12)
	address(r.to, 16)
	if r.proto != 0 {
		all = append(all, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{r.proto}})
	}
	if r.port != 0 {
		all = append(all, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, r.port)})
	}
	if r.states != 0 {
		word := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
		all = append(all, &expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: word(uint32(r.states)), Xor: word(0)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: word(0)})
	}
	if r.vip.IsValid() {
		all = append(all, &expr.Ct{Key: expr.CtKeyDST, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: r.vip.AsSlice()})
	}
	return append(all, r.verdictExprs()...)
}

func (r ruleSpec) verdictExprs() []expr.Any {
	switch r.verdict {
	case "accept":
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	case "reject":
		return []expr.Any{&expr.Reject{Type: 0, Code: 13}}
	case "masquerade":
		return []expr.Any{&expr.Masq{}}
	case "mark":
		return []expr.Any{&expr.Immediate{Register: 1, Data: binary.NativeEndian.AppendUint32(nil, r.mark)},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1}}
	}
	if r.verdict == "snat" {
		return r.snatExprs()
	}
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
}

func (r ruleSpec) snatExprs() []expr.Any {
	all := []expr.Any{&expr.Immediate{Register: 1, Data: r.lip.AsSlice()}}
	nat := &expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1}
	if r.ports[1] > 0 {
		nat.RegProtoMin, nat.RegProtoMax, nat.Specified = 2, 3, true
		for i, port := range r.ports {
			all = append(all, &expr.Immediate{Register: uint32(2 + i), Data: binary.BigEndian.AppendUint16(nil, port)})
		}
	}
	return append(all, nat)
}
