package snat

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/fullnat/internal/nft"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Untracked is a service of user space whose packets connection tracking is not
// to see: those of clients, and those between local addresses and real servers.
type Untracked struct {
	Key    ipvs.ServiceKey
	Locals []netip.Addr // dedicated to full NAT in user space; empty: only clients' packets
	Ports  []uint16     // of the real servers
}

const notrackTable = tableName + "-notrack"

// Chains of the table of notrack rules, before connection tracking (raw).
var notrackChains = [...]struct {
	name string
	hook *nftables.ChainHook
}{{"prerouting", nftables.ChainHookPrerouting}, {"output", nftables.ChainHookOutput}}

// Notrack keeps rules in tables of its own, "ip goipvs-notrack" and "ip6
// goipvs-notrack", that keep connections out of connection tracking. The zero
// value works. It needs CAP_NET_ADMIN.
type Notrack struct{}

// untracked is one rule: packets from or to an address and port.
type untracked struct {
	chain int // of notrackChains
	proto ipvs.Protocol
	addr  netip.Addr
	port  uint16
	src   bool // the address is the source; else the destination
	same  bool // the port is the address' own; else the other end's
}

func (r untracked) sign() string {
	return fmt.Sprint(r.proto, " ", netip.AddrPortFrom(r.addr, r.port), " ", r.src, " ", r.same)
}

// both are the rules for the two directions of connections to, or from, an
// address of this host.
func both(p ipvs.Protocol, a netip.Addr, port uint16, same bool) []untracked {
	return []untracked{{0, p, a, port, false, same}, {1, p, a, port, true, same}}
}

func (u *Untracked) rules() []untracked {
	list := both(u.Key.Protocol, u.Key.Addr.Addr(), u.Key.Addr.Port(), true)
	for _, a := range u.Locals {
		for _, port := range u.Ports {
			list = append(list, both(u.Key.Protocol, a, port, false)...)
		}
	}
	return list
}

// Apply makes the tables hold rules for exactly these services, in one step for
// each family, and tells whether it had to change anything.
func (n *Notrack) Apply(want []Untracked) (changed bool, err error) {
	for _, f := range families {
		did, err := n.applyFamily(f, rulesOf(want, f), true)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	return changed, nil
}

// Differs tells whether Apply would have to change anything. It changes nothing.
func (n *Notrack) Differs(want []Untracked) (differs bool, err error) {
	for _, f := range families {
		did, err := n.applyFamily(f, rulesOf(want, f), false)
		if err != nil || did {
			return did, err
		}
	}
	return false, nil
}

// rulesOf are the rules of a family, each once, by chain.
func rulesOf(want []Untracked, f nftables.TableFamily) (list []untracked) {
	for i := range want {
		for _, r := range want[i].rules() {
			if r.addr.Is4() == (f == nftables.TableFamilyIPv4) {
				list = append(list, r)
			}
		}
	}
	slices.SortFunc(list, func(a, b untracked) int { return cmp.Or(a.chain-b.chain, cmp.Compare(a.sign(), b.sign())) })
	return slices.Compact(list)
}

func (n *Notrack) applyFamily(f nftables.TableFamily, want []untracked, change bool) (changed bool, err error) {
	c, err := dial()
	if err != nil {
		return false, err
	}
	chains, err := readChains(c, f, notrackTable)
	if err != nil {
		return false, err
	}
	rules, err := readRules(f, notrackTable, "")
	if err != nil {
		return false, err
	}
	var signs []string
	for _, chain := range notrackChains {
		for _, r := range rules {
			if r.chain == chain.name && isHook(chains[chain.name], nftables.ChainTypeFilter, chain.hook, *nftables.ChainPriorityRaw) {
				signs = append(signs, r.sign)
			}
		}
	}
	if len(want) == 0 && chains == nil || len(want) > 0 && slices.EqualFunc(want, signs, func(r untracked, s string) bool { return r.sign() == s }) {
		return false, nil
	}
	if !change {
		return true, nil
	}
	t := &nftables.Table{Family: f, Name: notrackTable}
	c.AddTable(t) // that there is one to delete
	c.DelTable(t)
	if len(want) > 0 {
		c.AddTable(t)
		var chains []*nftables.Chain
		for _, x := range notrackChains {
			chains = append(chains, c.AddChain(&nftables.Chain{Name: x.name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: x.hook, Priority: nftables.ChainPriorityRaw}))
		}
		for _, r := range want {
			c.AddRule(&nftables.Rule{Table: t, Chain: chains[r.chain], Exprs: r.exprs(), UserData: nft.Comment(r.sign())})
		}
	}
	return true, reason(c.Flush())
}

// exprs are: meta l4proto PROTO ip saddr|daddr ADDR th sport|dport PORT counter notrack.
func (r untracked) exprs() []expr.Any {
	addr, port := uint32(16), uint32(2) // destination, in an IPv4 and a transport header
	if r.src {
		addr = 12
	}
	if r.src == r.same {
		port = 0
	}
	if r.addr.Is6() {
		addr = 24
		if r.src {
			addr = 8
		}
	}
	b := r.addr.AsSlice()
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals([]byte{byte(r.proto)}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: addr, Len: uint32(len(b))}, equals(b),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2}, equals([]byte{byte(r.port >> 8), byte(r.port)}),
		&expr.Counter{}, &expr.Notrack{},
	}
}

// TracksConnections tells whether connection tracking is loaded, as rules here
// would load it.
func TracksConnections() bool {
	return unix.Access("/proc/sys/net/netfilter/nf_conntrack_count", unix.R_OK) == nil
}
