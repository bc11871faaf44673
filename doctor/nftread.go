package doctor

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// readRules lists the rules of a chain, each as its expressions. It does so
// itself because the library (v0.3.0) fails at ct expressions with a direction,
// which the kernel gives as one byte, and leaves out what it does not know, so
// that a rule seems to apply to more packets than it does.
func readRules(c *netlink.Conn, chain *nftables.Chain) (rules [][]expr.Any, err error) {
	e := netlink.NewAttributeEncoder()
	e.String(unix.NFTA_RULE_TABLE, chain.Table.Name)
	e.String(unix.NFTA_RULE_CHAIN, chain.Name)
	attributes, err := e.Encode()
	if err != nil {
		return nil, err
	}
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{byte(chain.Table.Family), 0, 0, 0}, attributes...), // struct nfgenmsg
	})
	if err != nil {
		return nil, err
	}
	for _, m := range answers {
		rules = append(rules, decodeRule(byte(chain.Table.Family), m.Data))
	}
	return rules, nil
}

// decodeRule reads an answer. What is damaged is a condition that is not
// understood.
func decodeRule(family byte, b []byte) (all []expr.Any) {
	if len(b) < 4 {
		return []expr.Any{unknownExpr{name: "(damaged)"}}
	}
	err := attributes(b[4:], func(d *netlink.AttributeDecoder) error {
		if d.Type() != unix.NFTA_RULE_EXPRESSIONS {
			return nil
		}
		return attributes(d.Bytes(), func(d *netlink.AttributeDecoder) error {
			e, err := decodeExpr(family, d.Bytes())
			if e != nil {
				all = append(all, e)
			}
			return err
		})
	})
	if err != nil {
		all = append(all, unknownExpr{name: "(damaged)"})
	}
	return all
}

func attributes(b []byte, f func(*netlink.AttributeDecoder) error) error {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		if err := f(d); err != nil {
			return err
		}
	}
	return d.Err()
}

// unknownExpr is an expression that is not understood. It has no methods to
// call: they are the library's own.
type unknownExpr struct {
	expr.Any
	name string
}

// decodeExpr reads an expression; one that changes nothing is nil.
func decodeExpr(family byte, b []byte) (expr.Any, error) {
	name, data := "", []byte(nil)
	err := attributes(b, func(d *netlink.AttributeDecoder) error {
		switch d.Type() {
		case unix.NFTA_EXPR_NAME:
			name = d.String()
		case unix.NFTA_EXPR_DATA:
			data = d.Bytes()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	switch name {
	case "last":
		return nil, nil
	case "notrack":
		return &expr.Notrack{}, nil
	case "ct":
		return decodeCt(data)
	}
	e := emptyExpr(name)
	if e == nil {
		return unknownExpr{name: name}, nil
	}
	if err := expr.Unmarshal(family, data, e); err != nil {
		return nil, err
	}
	if i, ok := e.(*expr.Immediate); ok && i.Register == unix.NFT_REG_VERDICT {
		e = &expr.Verdict{}
		return e, expr.Unmarshal(family, data, e)
	}
	return e, nil
}

func emptyExpr(name string) expr.Any {
	switch name {
	case "meta":
		return &expr.Meta{}
	case "payload":
		return &expr.Payload{}
	case "immediate":
		return &expr.Immediate{}
	case "bitwise":
		return &expr.Bitwise{}
	case "cmp":
		return &expr.Cmp{}
	case "range":
		return &expr.Range{}
	case "lookup":
		return &expr.Lookup{}
	case "numgen":
		return &expr.Numgen{}
	case "counter":
		return &expr.Counter{}
	case "log":
		return &expr.Log{}
	case "objref":
		return &expr.Objref{}
	case "reject":
		return &expr.Reject{}
	case "masq":
		return &expr.Masq{}
	case "nat":
		return &expr.NAT{}
	case "exthdr":
		return &expr.Exthdr{}
	case "match":
		return &expr.Match{}
	case "target":
		return &expr.Target{}
	}
	return nil
}

func decodeCt(b []byte) (expr.Any, error) {
	e := &expr.Ct{}
	err := attributes(b, func(d *netlink.AttributeDecoder) error {
		switch d.Type() {
		case unix.NFTA_CT_KEY:
			e.Key = expr.CtKey(d.Uint32())
		case unix.NFTA_CT_DREG:
			e.Register = d.Uint32()
		case unix.NFTA_CT_SREG:
			e.Register, e.SourceRegister = d.Uint32(), true
		case unix.NFTA_CT_DIRECTION:
			e.Direction = uint32(d.Uint8())
		}
		return nil
	})
	return e, err
}
