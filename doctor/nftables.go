package doctor

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftables reads the ruleset of nf_tables, which is also that of iptables-nft.
func (g *gatherer) nftables() error {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseLasting() }()
	raw, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer raw.Close()
	chains, err := c.ListChains()
	if err != nil {
		return err
	}
	for _, chain := range chains {
		family, ok := map[nftables.TableFamily]int{nftables.TableFamilyIPv4: 4, nftables.TableFamilyIPv6: 6, nftables.TableFamilyINet: 0}[chain.Table.Family]
		if !ok {
			continue // arp, bridge, netdev
		}
		rules, err := readRules(raw, chain)
		if err != nil {
			return err
		}
		x := newChain(chain, family)
		for _, r := range rules {
			x.Rules = append(x.Rules, nftRules(c, chain.Table, r)...)
		}
		g.Firewall.Chains = append(g.Firewall.Chains, x)
		if x.Table == divertTable {
			g.diverted(c, chain.Table)
		}
	}
	return nil
}

const divertTable = "goipvs-tproxy" // package fullnat/tproxy makes it

// diverted are the marks of services of full NAT in user space.
func (g *gatherer) diverted(c *nftables.Conn, t *nftables.Table) {
	all, err := c.GetSetElements(&nftables.Set{Table: t, Name: "marks"})
	if err != nil {
		return // it has just gone
	}
	for _, e := range all {
		if len(e.Key) < 4 {
			continue
		}
		if mark := binary.NativeEndian.Uint32(e.Key); !slices.Contains(g.Facts.Diverted, mark) {
			g.Facts.Diverted = append(g.Facts.Diverted, mark)
		}
	}
}

var hooks = [...]string{"prerouting", "input", "forward", "output", "postrouting"} // NF_INET_*

func newChain(c *nftables.Chain, family int) Chain {
	x := Chain{Backend: "nftables", Family: family, Table: c.Table.Name, Name: c.Name, NAT: c.Type == nftables.ChainTypeNAT}
	if c.Hooknum != nil && int(*c.Hooknum) < len(hooks) {
		x.Hook = hooks[*c.Hooknum]
	}
	if c.Priority != nil {
		x.Priority = int(*c.Priority)
	}
	x.Drop = c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
	return x
}

// register is what one of a rule's registers holds: a field of the packet, or
// a constant.
type register struct {
	field Field
	mask  []byte
	value []byte
}

// nftRule follows the expressions of a rule.
type nftRule struct {
	sets    setReader
	table   *nftables.Table
	regs    map[uint32]register
	matches []Match
	rule    FilterRule
	words   []string
	rules   []FilterRule // of a verdict map: one for each element
}

// setReader is what of nftables.Conn is needed for lookups.
type setReader interface {
	GetSetByName(t *nftables.Table, name string) (*nftables.Set, error)
	GetSetElements(s *nftables.Set) ([]nftables.SetElement, error)
}

// nftRules translates a rule. One that looks up its verdict in a map becomes
// several.
func nftRules(sets setReader, t *nftables.Table, exprs []expr.Any) []FilterRule {
	n := nftRule{sets: sets, table: t, regs: map[uint32]register{}}
	for _, e := range exprs {
		n.expr(e)
	}
	n.rule.Matches = n.matches
	n.rule.Text = strings.Join(n.words, " ")
	for i := range n.rules {
		n.rules[i].Matches = append(append([]Match(nil), n.matches...), n.rules[i].Matches...)
		n.rules[i].Text = n.rule.Text
	}
	if len(n.rules) > 0 {
		return n.rules
	}
	return []FilterRule{n.rule}
}

func (n *nftRule) expr(e expr.Any) {
	switch e := e.(type) {
	case *expr.Meta:
		n.meta(e)
	case *expr.Payload:
		n.load(e.DestRegister, payloadField(e))
	case *expr.Ct:
		n.ct(e)
	case *expr.Immediate:
		n.regs[e.Register] = register{value: e.Data}
	case *expr.Bitwise:
		n.bitwise(e)
	case *expr.Cmp:
		n.compare(e)
	case *expr.Range:
		n.match(n.regs[e.Register], []Range{{e.FromData, e.ToData}}, e.Op == expr.CmpOpNeq)
	case *expr.Lookup:
		n.lookup(e)
	case *expr.Verdict:
		n.verdict(e)
	case *expr.Reject:
		n.decide(Drop, "reject")
	case *expr.Masq:
		n.decide(Masquerade, "masquerade")
	case *expr.NAT:
		n.nat(e)
	case *expr.Notrack:
		n.decide(NoTrack, "notrack")
	case *expr.Exthdr:
		n.exthdr(e)
	case *expr.Match:
		n.xtMatch(e)
	case *expr.Target:
		n.xtTarget(e)
	case *expr.Counter, *expr.Log, *expr.Objref:
	case *expr.Numgen:
		n.load(e.Register, Other)
	case unknownExpr:
		n.unknown(e.name)
	default:
		n.unclear("(something else)")
	}
}

func (n *nftRule) decide(v Verdict, word string) {
	n.rule.Verdict, n.words = v, append(n.words, word)
}

// unknown are limit, fib, socket, dynset and more, which may hold or not.
func (n *nftRule) unknown(name string) {
	if name == "queue" || name == "tproxy" {
		n.decide(Unclear, name)
		return
	}
	n.unclear(name)
}

// unclear adds a condition that is not understood.
func (n *nftRule) unclear(word string) {
	n.matches = append(n.matches, Match{Field: Other})
	n.words = append(n.words, word)
}

func (n *nftRule) load(reg uint32, f Field) { n.regs[reg] = register{field: f} }

func (n *nftRule) meta(e *expr.Meta) {
	if e.SourceRegister {
		if v := n.regs[e.Register].value; e.Key == expr.MetaKeyMARK && len(v) == 4 {
			n.rule.Mark = binary.NativeEndian.Uint32(v)
			n.decide(SetMark, fmt.Sprintf("mark set %d", n.rule.Mark))
		}
		return
	}
	fields := map[expr.MetaKey]Field{expr.MetaKeyIIFNAME: InIface, expr.MetaKeyOIFNAME: OutIface,
		expr.MetaKeyL4PROTO: L4Proto, expr.MetaKeyNFPROTO: NFProto, expr.MetaKeyMARK: PacketMark}
	n.load(e.Register, fields[e.Key])
}

// payloadField knows the fields by their place in the header.
func payloadField(e *expr.Payload) Field {
	type place struct {
		base     expr.PayloadBase
		from, to uint32
	}
	return map[place]Field{
		{expr.PayloadBaseNetworkHeader, 9, 1}:   L4Proto,
		{expr.PayloadBaseNetworkHeader, 12, 4}:  Source,
		{expr.PayloadBaseNetworkHeader, 16, 4}:  Destination,
		{expr.PayloadBaseNetworkHeader, 8, 16}:  Source,
		{expr.PayloadBaseNetworkHeader, 24, 16}: Destination,
		{expr.PayloadBaseTransportHeader, 0, 2}: SourcePort,
		{expr.PayloadBaseTransportHeader, 2, 2}: DestinationPort,
	}[place{e.Base, e.Offset, e.Len}]
}

func (n *nftRule) ct(e *expr.Ct) {
	f := Other
	switch {
	case e.SourceRegister:
		return
	case e.Key == expr.CtKeySTATE:
		f = CTState
	case e.Direction != 0: // of the answers
	case e.Key == expr.CtKeyDST || e.Key == unix.NFT_CT_DST_IP || e.Key == unix.NFT_CT_DST_IP6:
		f = CTVIP
	}
	n.load(e.Register, f)
}

func (n *nftRule) bitwise(e *expr.Bitwise) {
	r := n.regs[e.SourceRegister]
	for _, x := range e.Xor {
		if x != 0 {
			r.field = Other
		}
	}
	if len(e.Mask) == 0 {
		r.field = Other // a shift
	}
	r.mask = e.Mask
	n.regs[e.DestRegister] = r
}

func (n *nftRule) compare(e *expr.Cmp) {
	r := n.regs[e.Register]
	switch e.Op {
	case expr.CmpOpEq, expr.CmpOpNeq:
		n.match(r, exactly(e.Data), e.Op == expr.CmpOpNeq)
	default: // order of bytes of numbers is the network's for ports and addresses only
		n.unclear("compare")
	}
}

func (n *nftRule) match(r register, ranges []Range, not bool) {
	n.matches = append(n.matches, Match{Field: r.field, Mask: r.mask, Ranges: ranges, Not: not})
	n.words = append(n.words, describe(Match{Field: r.field, Mask: r.mask, Ranges: ranges, Not: not}))
}

// lookup expands a set; a verdict map becomes a rule for each of its elements.
func (n *nftRule) lookup(e *expr.Lookup) {
	set, err := n.sets.GetSetByName(n.table, e.SetName)
	if err != nil || set.Concatenation {
		n.unclear("@" + e.SetName)
		return
	}
	elements, err := n.sets.GetSetElements(set)
	if err != nil {
		n.unclear("@" + e.SetName)
		return
	}
	r := n.regs[e.SourceRegister]
	if !e.IsDestRegSet {
		n.match(r, setRanges(set, elements), e.Invert)
		return
	}
	if e.DestRegister != unix.NFT_REG_VERDICT {
		n.regs[e.DestRegister] = register{} // a value that depends
		return
	}
	n.words = append(n.words, "vmap")
	for _, x := range elements {
		if x.VerdictData == nil || set.Interval {
			n.rules = append(n.rules, FilterRule{Matches: []Match{{Field: Other}}, Verdict: Unclear})
			continue
		}
		v, target := nftVerdict(x.VerdictData)
		n.rules = append(n.rules, FilterRule{Matches: []Match{{Field: r.field, Mask: r.mask, Ranges: exactly(x.Key)}}, Verdict: v, Target: target})
	}
}

// setRanges are the elements of a set. Those of an interval set are listed by
// where an interval begins and where it has ended.
func setRanges(set *nftables.Set, elements []nftables.SetElement) (list []Range) {
	if !set.Interval {
		for _, e := range elements {
			list = append(list, Range{e.Key, e.Key})
		}
		return list
	}
	for _, e := range elements {
		if e.IntervalEnd {
			continue
		}
		end := Range{e.Key, maxBytes(len(e.Key))}
		for _, o := range elements {
			if o.IntervalEnd && string(o.Key) > string(e.Key) && string(before(o.Key)) < string(end.To) {
				end.To = before(o.Key)
			}
		}
		list = append(list, end)
	}
	return list
}

func maxBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// before is the number before a big-endian one.
func before(b []byte) []byte {
	b = append([]byte(nil), b...)
	for i := range slices.Backward(b) {
		b[i]--
		if b[i] != 0xff {
			break
		}
	}
	return b
}

func nftVerdict(e *expr.Verdict) (Verdict, string) {
	switch e.Kind {
	case expr.VerdictAccept:
		return Accept, ""
	case expr.VerdictDrop:
		return Drop, ""
	case expr.VerdictReturn:
		return Return, ""
	case expr.VerdictJump:
		return Jump, e.Chain
	case expr.VerdictGoto:
		return Goto, e.Chain
	case expr.VerdictContinue, expr.VerdictBreak:
		return Continue, ""
	}
	return Unclear, ""
}

func (n *nftRule) verdict(e *expr.Verdict) {
	v, target := nftVerdict(e)
	n.rule.Target = target
	word := map[Verdict]string{Accept: "accept", Drop: "drop", Return: "return", Jump: "jump " + target, Goto: "goto " + target}[v]
	n.decide(v, word)
}

func (n *nftRule) nat(e *expr.NAT) {
	if e.Type != expr.NATTypeSourceNAT {
		return // the other direction
	}
	n.rule.To, _ = netip.AddrFromSlice(n.regs[e.RegAddrMin].value)
	if from, to := n.regs[e.RegProtoMin].value, n.regs[e.RegProtoMax].value; e.RegProtoMin != 0 && len(from) == 2 && len(to) == 2 {
		n.rule.Ports = portCount(binary.BigEndian.Uint16(from), binary.BigEndian.Uint16(to))
	} else if e.RegProtoMin != 0 && e.RegProtoMax == 0 {
		n.rule.Ports = 1
	}
	n.decide(SNAT, "snat to "+n.rule.To.String())
}

// exthdr: what is written to the option of the MSS clamps it.
func (n *nftRule) exthdr(e *expr.Exthdr) {
	const maxseg = 2
	if e.SourceRegister != 0 && e.Op == expr.ExthdrOpTcpopt && e.Type == maxseg {
		n.decide(ClampMSS, "tcp option maxseg size set")
		return
	}
	n.load(e.DestRegister, Other)
}

// xtMatch is a match of iptables in a rule of nf_tables.
func (n *nftRule) xtMatch(e *expr.Match) {
	switch i := e.Info.(type) {
	case *xt.Comment:
		return
	case *xt.Tcp:
		n.ports(Source, i.SrcPorts, i.InvFlags&xt.TcpInvSrcPorts != 0)
		n.ports(Destination, i.DstPorts, i.InvFlags&xt.TcpInvDestPorts != 0)
		if i.FlagsMask != 0 || i.Option != 0 {
			n.unclear("tcp flags")
		}
	case *xt.Udp:
		n.ports(Source, i.SrcPorts, i.InvFlags&xt.UdpInvSrcPorts != 0)
		n.ports(Destination, i.DstPorts, i.InvFlags&xt.UdpInvDestPorts != 0)
	case *xt.ConntrackMtinfo1:
		n.ctMatch(&i.ConntrackMtinfoBase, uint32(i.StateMask))
	case *xt.ConntrackMtinfo2:
		n.ctMatch(&i.ConntrackMtinfoBase, uint32(i.StateMask))
	case *xt.ConntrackMtinfo3:
		n.ctMatch(&i.ConntrackMtinfoBase, uint32(i.StateMask))
	case *xt.Unknown:
		for _, m := range xtMatches(e.Name, *i) {
			n.matches, n.words = append(n.matches, m), append(n.words, describe(m))
		}
	default:
		n.unclear(e.Name)
	}
}

func (n *nftRule) ports(side Field, ports [2]uint16, not bool) {
	for _, m := range portMatch(side, ports[0], ports[1], not) {
		n.matches, n.words = append(n.matches, m), append(n.words, describe(m))
	}
}

func (n *nftRule) ctMatch(i *xt.ConntrackMtinfoBase, state uint32) {
	for _, m := range conntrackMatches(i.MatchFlags, i.InvertFlags, state, i.OrigDstAddr, i.OrigDstMask) {
		n.matches, n.words = append(n.matches, m), append(n.words, describe(m))
	}
}

func (n *nftRule) xtTarget(e *expr.Target) {
	raw := []byte(nil)
	if u, ok := e.Info.(*xt.Unknown); ok {
		raw = *u
	}
	x := xtTarget(e.Name, raw)
	if r, ok := e.Info.(*xt.NatRange); ok && x.Verdict == SNAT {
		x.snat(r)
	} else if r, ok := e.Info.(*xt.NatRange2); ok && x.Verdict == SNAT {
		x.snat(&r.NatRange)
	}
	n.rule.Mark, n.rule.To, n.rule.Ports = x.Mark, x.To, x.Ports
	n.decide(x.Verdict, e.Name)
}

func (r *FilterRule) snat(to *xt.NatRange) {
	r.To, _ = netip.AddrFromSlice(to.MinIP)
	r.To = r.To.Unmap()
	if to.Flags&natPorts != 0 {
		r.Ports = portCount(to.MinPort, to.MaxPort)
	}
}
