package snat

import (
	"fmt"

	"github.com/goipvs/goipvs/fullnat/internal/nft"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// A dispatch is a chain of the hook, and the map by which it leads new
// connections to the chains of services.
type dispatch struct {
	chain, set string
	priority   nftables.ChainPriority
	rules      []string // by comment
}

// Both are before others' chains of source NAT, as the first that gives an address
// decides: a firewall that masquerades all that leaves would keep local addresses
// from being used. Marks go first, as with IPVS (ip_vs_service_find in
// ip_vs_ctl.c). Their chain is there while there are services of marks, because
// not every kernel can have it.
var (
	byAddress = dispatch{"postrouting", "services", *nftables.ChainPriorityNATSource - 1, []string{"services", "services of every port"}}
	byMark    = dispatch{"marked", "marks", *nftables.ChainPriorityNATSource - 2, []string{"firewall marks, as far as IPVS has sent the packet"}}
)

// entry is what a table has for one service.
type entry struct {
	sign   string
	counts Counts // when it was read
	rule   uint64 // its handle
	locals string // the map of local addresses
}

// table is what a table of ours has.
type table struct {
	exists   bool
	whole    bool // it is as we make it, or there is none
	marked   bool // it has the chain of marks
	services map[ipvs.ServiceKey]entry
}

// marked tells whether there are services of marks.
func marked(want map[ipvs.ServiceKey]wanted) bool {
	for k := range want {
		if k.FWMark != 0 {
			return true
		}
	}
	return false
}

// is tells whether nothing has to be changed.
func (t *table) is(want map[ipvs.ServiceKey]wanted) bool {
	if !t.whole || t.exists != (len(want) > 0) || len(t.services) != len(want) {
		return false
	}
	for k, s := range want {
		if e, ok := t.services[k]; !ok || e.sign != s.sign {
			return false
		}
	}
	return true
}

// change makes the table what is wanted, in one step, and returns what it is
// then.
func (t *table) change(f nftables.TableFamily, want map[ipvs.ServiceKey]wanted) (next table, err error) {
	c, err := dial()
	if err != nil {
		return next, err
	}
	e := editor{c, &nftables.Table{Family: f, Name: tableName}}
	next = table{exists: len(want) > 0, whole: true, marked: marked(want), services: make(map[ipvs.ServiceKey]entry)}
	keep := t.exists && t.whole && len(want) > 0
	if !keep {
		c.AddTable(e.table) // that there is one to delete
		c.DelTable(e.table)
		if len(want) > 0 {
			err = e.begin()
		}
	}
	if err == nil && next.marked && (!keep || !t.marked) {
		err = e.beginMarks()
	}
	for k := range t.services {
		if _, stays := want[k]; keep && !stays {
			e.remove(k)
		}
	}
	for k, s := range want {
		was, had := t.services[k]
		next.services[k] = entry{sign: s.sign}
		switch {
		case err != nil:
		case !keep || !had:
			err = e.add(s, was.counts)
		case was.sign != s.sign:
			err = e.replace(s)
		}
	}
	if err != nil {
		return next, fmt.Errorf("snat: %w", err)
	}
	if keep && t.marked && !next.marked {
		e.endMarks()
	}
	return next, reason(c.Flush())
}

// editor collects changes of a table.
type editor struct {
	c     *nftables.Conn
	table *nftables.Table
}

// marks is the map from firewall marks to the chains of their services.
func (e editor) marks() *nftables.Set {
	return &nftables.Set{Table: e.table, Name: byMark.set, IsMap: true, KeyType: nftables.TypeMark, DataType: nftables.TypeVerdict, KeyByteOrder: binaryutil.NativeEndian}
}

// leads is the map that a service is in.
func (e editor) leads(k ipvs.ServiceKey) *nftables.Set {
	if k.FWMark != 0 {
		return e.marks()
	}
	return e.services()
}

// services is the map from what connection tracking knows of a new connection to
// the chain of its service.
func (e editor) services() *nftables.Set {
	addr := nftables.TypeIPAddr
	if e.table.Family == nftables.TableFamilyIPv6 {
		addr = nftables.TypeIP6Addr
	}
	return &nftables.Set{Table: e.table, Name: byAddress.set, IsMap: true, Concatenation: true, DataType: nftables.TypeVerdict,
		KeyType: nftables.MustConcatSetType(addr, nftables.TypeInetProto, nftables.TypeInetService)}
}

// begin makes the table, without services.
func (e editor) begin() error {
	e.c.AddTable(e.table)
	chain := e.hook(&byAddress)
	set := e.services()
	if err := e.c.AddSet(set, nil); err != nil {
		return err
	}
	// An address is in the register of 16 bytes, of which an IPv4 address has the
	// first four; protocol and port are in those behind it.
	second := uint32(unix.NFT_REG32_01)
	if e.table.Family == nftables.TableFamilyIPv6 {
		second = unix.NFT_REG32_04
	}
	ports := []expr.Any{
		&expr.Ct{Key: expr.CtKeyPROTODST, Register: second + 1},
		&expr.Immediate{Register: second + 1, Data: []byte{0, 0}},
	}
	for i, port := range ports {
		e.c.AddRule(&nftables.Rule{Table: e.table, Chain: chain, UserData: nft.Comment(byAddress.rules[i]), Exprs: []expr.Any{
			&expr.Ct{Key: expr.CtKeyDST, Register: unix.NFT_REG_1}, // of the original direction: the VIP
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: second},
			port,
			&expr.Lookup{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetID: set.ID, SetName: set.Name},
		}})
	}
	return nil
}

func (e editor) hook(d *dispatch) *nftables.Chain {
	return e.c.AddChain(&nftables.Chain{Name: d.chain, Table: e.table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: &d.priority})
}

// beginMarks adds what leads to services of firewall marks. Connection tracking
// keeps no marks, but the packet that begins a connection still has its own when
// it leaves. That it goes by IPVS must be asked for, as others are forwarded with
// the mark, too, by a match of iptables, as nf_tables knows of no IPVS.
func (e editor) beginMarks() error {
	chain, set := e.hook(&byMark), e.marks()
	if err := e.c.AddSet(set, nil); err != nil {
		return err
	}
	e.c.AddRule(&nftables.Rule{Table: e.table, Chain: chain, UserData: nft.Comment(byMark.rules[0]), Exprs: []expr.Any{
		&expr.Match{Name: "ipvs", Info: &sentByIPVS},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Lookup{SourceRegister: 1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetID: set.ID, SetName: set.Name},
	}})
	return nil
}

// sentByIPVS is a struct xt_ipvs_mtinfo (linux/netfilter/xt_ipvs.h) whose last
// byte, of what is looked at, is XT_IPVS_IPVS_PROPERTY.
var sentByIPVS = xt.Unknown{39: 1}

// endMarks takes that away, when the map is empty.
func (e editor) endMarks() {
	e.c.DelChain(&nftables.Chain{Name: byMark.chain, Table: e.table})
	e.c.DelSet(e.marks())
}

func (e editor) chain(k ipvs.ServiceKey) *nftables.Chain {
	return &nftables.Chain{Name: chainOf(k), Table: e.table}
}

// add adds a service.
func (e editor) add(s wanted, n Counts) error {
	exprs, err := e.exprs(s.Service, n)
	if err != nil {
		return err
	}
	chain := e.c.AddChain(e.chain(s.Key))
	e.c.AddRule(&nftables.Rule{Table: e.table, Chain: chain, Exprs: exprs, UserData: nft.Comment(s.sign)})
	return e.c.SetAddElements(e.leads(s.Key), []nftables.SetElement{
		{Key: element(s.Key), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain.Name}},
	})
}

// replace gives a service other local addresses. Its counts go on.
func (e editor) replace(s wanted) error {
	rules, err := readRules(e.table.Family, e.table.Name, chainOf(s.Key))
	if err != nil {
		return err
	}
	if len(rules) != 1 {
		return fmt.Errorf("%s: %d rules in chain %s, which others have changed", s.Key, len(rules), chainOf(s.Key))
	}
	exprs, err := e.exprs(s.Service, rules[0].counts)
	if err != nil {
		return err
	}
	e.c.ReplaceRule(&nftables.Rule{Table: e.table, Chain: e.chain(s.Key), Handle: rules[0].rule, Exprs: exprs, UserData: nft.Comment(s.sign)})
	return nil
}

// remove takes a service away.
func (e editor) remove(k ipvs.ServiceKey) {
	_ = e.c.SetDeleteElements(e.leads(k), []nftables.SetElement{{Key: element(k)}}) // an error is of anonymous maps
	e.c.DelChain(e.chain(k))
}

// exprs are: counter snat to numgen inc mod N map { 0 : LIP0, ... }.
func (e editor) exprs(s *Service, n Counts) ([]expr.Any, error) {
	set, err := e.locals(s)
	family := uint32(unix.NFPROTO_IPV4)
	if e.table.Family == nftables.TableFamilyIPv6 {
		family = unix.NFPROTO_IPV6
	}
	return []expr.Any{
		&expr.Counter{Packets: n.Conns, Bytes: n.Bytes}, // the first packet of each connection comes by here
		&expr.Numgen{Register: 1, Modulus: uint32(len(s.Locals)), Type: unix.NFT_NG_INCREMENTAL},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetID: set.ID, SetName: set.Name},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: family, RegAddrMin: 1},
	}, err
}

// locals adds the map from numbers to LIPs.
func (e editor) locals(s *Service) (*nftables.Set, error) {
	to := nftables.TypeIPAddr
	if e.table.Family == nftables.TableFamilyIPv6 {
		to = nftables.TypeIP6Addr
	}
	set := &nftables.Set{
		Table: e.table, Anonymous: true, Constant: true, IsMap: true,
		KeyType: nftables.TypeInteger, DataType: to, KeyByteOrder: binaryutil.NativeEndian,
	}
	var elements []nftables.SetElement
	for i, a := range s.Locals {
		elements = append(elements, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: a.AsSlice()})
	}
	return set, e.c.AddSet(set, elements)
}

func equals(b []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }
