package tproxy

import (
	"encoding/binary"
	"net/netip"

	"github.com/goipvs/goipvs/fullnat/internal/nft"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// How the tables are made. These are the names in them.
const (
	tableName  = "goipvs-tproxy"
	chainName  = "prerouting"
	setMarks   = "marks"     // mark . protocol : port
	setExact   = "exact"     // address . protocol . port
	setAddress = "addresses" // address . protocol : port
)

// The comments of the chain's rules, in their order.
var comments = []string{"services of a firewall mark", "services of one port", "services of every port"}

// priority is behind users' own chains at mangle's, in which they set marks.
var priority = *nftables.ChainPriorityMangle + 1

func familyOf(f ipvs.Family) nftables.TableFamily {
	if f == ipvs.IPv6 {
		return nftables.TableFamilyIPv6
	}
	return nftables.TableFamilyIPv4
}

// write makes the table of a family have these rules, or not be there, in one
// step.
func write(f ipvs.Family, r Rules) error {
	c, err := nft.Dial()
	if err != nil {
		return reason(err)
	}
	t := &nftables.Table{Family: familyOf(f), Name: tableName}
	c.AddTable(t) // that there is one to delete
	c.DelTable(t)
	if len(r.Diverts) > 0 {
		if err := (editor{c, t}).fill(r); err != nil {
			return reason(err)
		}
	}
	return reason(c.Flush())
}

// editor collects what makes a table.
type editor struct {
	c     *nftables.Conn
	table *nftables.Table
}

// fill makes the table.
func (e editor) fill(r Rules) error {
	e.c.AddTable(e.table)
	policy := nftables.ChainPolicyAccept
	chain := e.c.AddChain(&nftables.Chain{Name: chainName, Table: e.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: &priority, Policy: &policy})
	marks, exact, addresses := e.set(setMarks), e.set(setExact), e.set(setAddress)
	for _, s := range []*nftables.Set{marks, exact, addresses} {
		if err := e.c.AddSet(s, nil); err != nil {
			return err
		}
		if err := nft.AddElements(e.c, s, elements(s.Name, r)); err != nil {
			return err
		}
	}
	second := uint32(unix.NFT_REG32_01) // behind an address, which is first
	if e.table.Family == nftables.TableFamilyIPv6 {
		second = unix.NFT_REG32_04
	}
	for i, exprs := range [][]expr.Any{
		e.to(marks, &expr.Meta{Key: expr.MetaKeyMARK, Register: unix.NFT_REG_1}, protocol(unix.NFT_REG32_01)),
		{e.daddr(), protocol(second), &expr.Payload{DestRegister: second + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: exact.Name, SetID: exact.ID}, &expr.Verdict{Kind: expr.VerdictAccept}},
		e.to(addresses, e.daddr(), protocol(second)),
	} {
		e.c.AddRule(&nftables.Rule{Table: e.table, Chain: chain, Exprs: exprs, UserData: nft.Comment(comments[i])})
	}
	return nil
}

// to gives packets to the port that a map has for the key that is loaded. One
// that has none, or at which nobody listens, goes on to the next rule.
func (e editor) to(m *nftables.Set, key ...expr.Any) []expr.Any {
	const port, addr = unix.NFT_REG_3, unix.NFT_REG_4 // the key may be in both before
	loopback, family := netip.AddrFrom4([4]byte{127, 0, 0, 1}), byte(unix.NFPROTO_IPV4)
	if e.table.Family == nftables.TableFamilyIPv6 {
		loopback, family = netip.IPv6Loopback(), unix.NFPROTO_IPV6
	}
	return append(key,
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, DestRegister: port, IsDestRegSet: true, SetName: m.Name, SetID: m.ID},
		&expr.Immediate{Register: addr, Data: loopback.AsSlice()},
		&expr.TProxy{Family: family, RegAddr: addr, RegPort: port},
		&expr.Verdict{Kind: expr.VerdictAccept})
}

func protocol(register uint32) expr.Any {
	return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}
}

func (e editor) daddr() expr.Any {
	if e.table.Family == nftables.TableFamilyIPv6 {
		return &expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16}
	}
	return &expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
}

// set is one of the sets.
func (e editor) set(name string) *nftables.Set {
	first := nftables.TypeIPAddr
	if e.table.Family == nftables.TableFamilyIPv6 {
		first = nftables.TypeIP6Addr
	}
	s := &nftables.Set{Table: e.table, Name: name, Concatenation: true}
	switch name {
	case setExact:
		s.KeyType = nftables.MustConcatSetType(first, nftables.TypeInetProto, nftables.TypeInetService)
		return s
	case setMarks:
		first = nftables.TypeMark
	}
	s.KeyType, s.IsMap, s.DataType = nftables.MustConcatSetType(first, nftables.TypeInetProto), true, nftables.TypeInetService
	return s
}

// elements are those that a set has for these rules. Keys are registers of four
// bytes each.
func elements(set string, r Rules) (all []nftables.SetElement) {
	if set == setExact {
		for _, k := range r.Exact {
			key := append(k.Addr.Addr().AsSlice(), byte(k.Protocol), 0, 0, 0)
			all = append(all, nftables.SetElement{Key: append(binary.BigEndian.AppendUint16(key, k.Addr.Port()), 0, 0)})
		}
		return all
	}
	for _, d := range r.Diverts {
		first := d.Key.Addr.Addr().AsSlice()
		if d.Key.FWMark != 0 {
			first = binaryutil.NativeEndian.PutUint32(d.Key.FWMark)
		}
		if (set == setMarks) == (d.Key.FWMark != 0) {
			all = append(all, nftables.SetElement{Key: append(first, byte(d.Protocol), 0, 0, 0), Val: binary.BigEndian.AppendUint16(nil, d.Port)})
		}
	}
	return all
}
