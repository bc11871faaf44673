package snat

import (
	"net/netip"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const chainName = "postrouting"

func addChain(c *nftables.Conn, t *nftables.Table) *nftables.Chain {
	return c.AddChain(&nftables.Chain{
		Name: chainName, Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
}

// addRule adds the rule of a service. Its user data is its signature.
func addRule(c *nftables.Conn, t *nftables.Table, chain *nftables.Chain, s *Service, n Counts) error {
	set, err := addLocals(c, t, s)
	if err != nil {
		return err
	}
	family := uint32(unix.NFPROTO_IPV4)
	if !s.Key.Addr.Addr().Is4() {
		family = unix.NFPROTO_IPV6
	}
	port := []byte{byte(s.Key.Addr.Port() >> 8), byte(s.Key.Addr.Port())}
	exprs := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		equals([]byte{byte(s.Key.Protocol)}),
		&expr.Ct{Key: expr.CtKeyDST, Register: 1}, // of the original direction: the VIP
		equals(s.Key.Addr.Addr().AsSlice()),
	}
	if s.Key.Addr.Port() != 0 { // else every port
		exprs = append(exprs, &expr.Ct{Key: expr.CtKeyPROTODST, Register: 1}, equals(port))
	}
	exprs = append(exprs,
		&expr.Counter{Packets: n.Conns, Bytes: n.Bytes}, // the first packet of each connection comes by here
		&expr.Numgen{Register: 1, Modulus: uint32(len(s.Locals)), Type: unix.NFT_NG_INCREMENTAL},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetID: set.ID, SetName: set.Name},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: family, RegAddrMin: 1},
	)
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: exprs, UserData: []byte(s.sign())})
	return nil
}

func equals(b []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }

// addLocals adds the map from numbers to LIPs.
func addLocals(c *nftables.Conn, t *nftables.Table, s *Service) (*nftables.Set, error) {
	to := nftables.TypeIPAddr
	if t.Family == nftables.TableFamilyIPv6 {
		to = nftables.TypeIP6Addr
	}
	set := &nftables.Set{
		Table: t, Anonymous: true, Constant: true, IsMap: true,
		KeyType: nftables.TypeInteger, DataType: to, KeyByteOrder: binaryutil.NativeEndian,
	}
	var elements []nftables.SetElement
	for i, a := range s.Locals {
		elements = append(elements, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: a.AsSlice()})
	}
	return set, c.AddSet(set, elements)
}

// state is what a table holds.
type state struct {
	table  bool
	whole  bool              // our chain is as we make it
	signs  []string          // of the rules, in order
	counts map[string]Counts // by key
}

// read reads our table of a family. That it is not there is no error.
func read(c *nftables.Conn, f nftables.TableFamily) (s state, err error) {
	return readChain(c, f, tableName, chainName, nftables.ChainTypeNAT, nftables.ChainHookPostrouting)
}

// readChain reads one chain of a table, which is whole when it is of this type
// and at this hook.
func readChain(c *nftables.Conn, f nftables.TableFamily, table, name string, kind nftables.ChainType, hook *nftables.ChainHook) (s state, err error) {
	s.counts = map[string]Counts{}
	tables, err := c.ListTablesOfFamily(f)
	if err != nil {
		return s, reason(err)
	}
	for _, t := range tables {
		if t.Name == table {
			s.table = true
		}
	}
	if !s.table {
		return s, nil
	}
	chains, err := c.ListChainsOfTableFamily(f)
	if err != nil {
		return s, reason(err)
	}
	for _, chain := range chains {
		if chain.Table.Name != table || chain.Name != name {
			continue
		}
		s.whole = chain.Type == kind && chain.Hooknum != nil && *chain.Hooknum == *hook
		if err := s.readRules(f, table, name); err != nil {
			return s, reason(err)
		}
	}
	return s, nil
}

// is tells whether the table is what Apply would make.
func (s *state) is(want []Service) bool {
	if len(want) == 0 {
		return !s.table
	}
	if !s.whole || len(s.signs) != len(want) {
		return false
	}
	for i := range want {
		if s.signs[i] != want[i].sign() {
			return false
		}
	}
	return true
}

func parseKey(text string) (k ipvs.ServiceKey, ok bool) {
	var proto, at string
	for i := range text {
		if text[i] == ' ' {
			proto, at = text[:i], text[i+1:]
		}
	}
	var p ipvs.Protocol
	a, err := netip.ParseAddrPort(at)
	if err != nil || p.UnmarshalText([]byte(proto)) != nil {
		return k, false
	}
	return ipvs.AddrService(p, a), true
}

// parseSign reads what sign wrote.
func parseSign(sign string) (s Service, ok bool) {
	k := keyOf(sign)
	if s.Key, ok = parseKey(k); !ok {
		return s, false
	}
	for word := range strings.FieldsSeq(sign[len(k):]) {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return s, false
		}
		s.Locals = append(s.Locals, a)
	}
	return s, s.check() == nil
}

func key(s *Service) string { return s.Key.Protocol.String() + " " + s.Key.Addr.String() }

// keyOf is the key within a signature: its first two words.
func keyOf(sign string) string {
	spaces := 0
	for i := range sign {
		if sign[i] == ' ' {
			if spaces++; spaces == 2 {
				return sign[:i]
			}
		}
	}
	return sign
}
