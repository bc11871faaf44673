package snat

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// readRules reads the rules of our chain. It does so itself because the library
// (v0.3.0) takes the direction of a ct expression for four bytes, which the
// kernel gives as one, and then fails.
func (s *state) readRules(f nftables.TableFamily, table, chain string) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	e := netlink.NewAttributeEncoder()
	e.String(unix.NFTA_RULE_TABLE, table)
	e.String(unix.NFTA_RULE_CHAIN, chain)
	attributes, err := e.Encode()
	if err != nil {
		return err
	}
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{byte(f), 0, 0, 0}, attributes...), // struct nfgenmsg
	})
	for _, m := range answers {
		if sign, n, ok := decodeRule(m.Data); ok {
			s.signs = append(s.signs, sign)
			s.counts[keyOf(sign)] = n
		}
	}
	return err
}

// decodeRule finds a rule's user data and counter.
func decodeRule(b []byte) (sign string, n Counts, ok bool) {
	if len(b) < 4 {
		return "", n, false
	}
	d, err := netlink.NewAttributeDecoder(b[4:])
	if err != nil {
		return "", n, false
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_RULE_USERDATA:
			sign = string(d.Bytes())
		case unix.NFTA_RULE_EXPRESSIONS:
			d.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(n.decode)
				}
				return nil
			})
		}
	}
	return sign, n, d.Err() == nil
}

// decode takes the counts from an expression, if it is a counter.
func (n *Counts) decode(e *netlink.AttributeDecoder) error {
	name := ""
	for e.Next() {
		switch {
		case e.Type() == unix.NFTA_EXPR_NAME:
			name = e.String()
		case e.Type() == unix.NFTA_EXPR_DATA && name == "counter":
			e.Nested(func(data *netlink.AttributeDecoder) error {
				for data.Next() {
					switch data.Type() {
					case unix.NFTA_COUNTER_BYTES:
						n.Bytes = data.Uint64()
					case unix.NFTA_COUNTER_PACKETS:
						n.Conns = data.Uint64()
					}
				}
				return nil
			})
		}
	}
	return nil
}
