package snat

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const ownedTable = 2 // NFT_TABLE_F_OWNER

// guardName is the name of this process' guard.
func guardName() string { return guardPrefix + strconv.Itoa(os.Getpid()) }

const guardPrefix = tableName + "-guard-"

// guarded tells whether another process has a guard.
func guarded() (bool, error) {
	c, err := dial()
	if err != nil {
		return false, err
	}
	tables, err := c.ListTables()
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool {
		return strings.HasPrefix(t.Name, guardPrefix) && t.Name != guardName()
	}), reason(err)
}

// newGuard adds a table that nobody else can flush: it belongs to a socket, and
// goes with it. It has a chain for NAT, without any of which the kernel would
// stop translating the connections there are (nf_nat_unregister_fn in
// nf_nat_core.c), and a rule that does nothing but look at the state of a
// connection, without any of which it would stop tracking them
// (nf_ct_netns_do_put in nf_conntrack_proto.c): a packet that comes before the
// rules are mended would end its connection. Kernels before 5.12 have no tables
// of an owner.
func newGuard(f nftables.TableFamily) (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	number := func(e *netlink.AttributeEncoder, kind uint16, n uint32) {
		e.Bytes(kind, binary.BigEndian.AppendUint32(nil, n))
	}
	table, chain, rule := netlink.NewAttributeEncoder(), netlink.NewAttributeEncoder(), netlink.NewAttributeEncoder()
	table.String(unix.NFTA_TABLE_NAME, guardName())
	number(table, unix.NFTA_TABLE_FLAGS, ownedTable)
	chain.String(unix.NFTA_CHAIN_TABLE, guardName())
	chain.String(unix.NFTA_CHAIN_NAME, byAddress.chain)
	chain.Nested(unix.NFTA_CHAIN_HOOK, func(e *netlink.AttributeEncoder) error {
		number(e, unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_POST_ROUTING)
		number(e, unix.NFTA_HOOK_PRIORITY, uint32(*nftables.ChainPriorityNATSource))
		return nil
	})
	chain.String(unix.NFTA_CHAIN_TYPE, string(nftables.ChainTypeNAT))
	rule.String(unix.NFTA_RULE_TABLE, guardName())
	rule.String(unix.NFTA_RULE_CHAIN, byAddress.chain)
	rule.Nested(unix.NFTA_RULE_EXPRESSIONS, func(e *netlink.AttributeEncoder) error {
		e.Nested(unix.NFTA_LIST_ELEM, func(e *netlink.AttributeEncoder) error {
			e.String(unix.NFTA_EXPR_NAME, "ct")
			e.Nested(unix.NFTA_EXPR_DATA, func(e *netlink.AttributeEncoder) error {
				number(e, unix.NFTA_CT_KEY, unix.NFT_CT_STATE)
				number(e, unix.NFTA_CT_DREG, unix.NFT_REG_1)
				return nil
			})
			return nil
		})
		return nil
	})
	batch := func(kind netlink.HeaderType) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request}, Data: []byte{0, 0, 0, unix.NFNL_SUBSYS_NFTABLES}}
	}
	message := func(kind netlink.HeaderType, flags netlink.HeaderFlags, e *netlink.AttributeEncoder) netlink.Message {
		b, encodeErr := e.Encode()
		if err == nil {
			err = encodeErr
		}
		return netlink.Message{Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: netlink.Request | netlink.Create | flags},
			Data: append([]byte{byte(f), 0, 0, 0}, b...)} // struct nfgenmsg
	}
	messages := []netlink.Message{
		batch(unix.NFNL_MSG_BATCH_BEGIN),
		message(unix.NFT_MSG_NEWTABLE, 0, table),
		message(unix.NFT_MSG_NEWCHAIN, 0, chain),
		message(unix.NFT_MSG_NEWRULE, netlink.Acknowledge, rule), // of the others comes an error or nothing
		batch(unix.NFNL_MSG_BATCH_END),
	}
	if err == nil {
		_, err = c.SendMessages(messages)
	}
	if err == nil {
		_, err = c.Receive()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// guard has the guard of a family be there while there are rules, and tells
// whether it made one. What becomes of connections when others flush all rules
// is worse without, and nothing else.
func (p *Plane) guard(f nftables.TableFamily, on bool) (made bool) {
	i := slices.Index(families[:], f)
	switch g := p.guards[i]; {
	case on && g == nil:
		p.guards[i], _ = newGuard(f) // nil where it cannot be
		return p.guards[i] != nil
	case !on && g != nil:
		g.Close()
		p.guards[i] = nil
	}
	return false
}
