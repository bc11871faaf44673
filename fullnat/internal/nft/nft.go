// Package nft is github.com/google/nftables for tables of thousands of services,
// and what of nf_tables the library (v0.3.0) does not read: the number of the state
// of all tables, and rules with expressions that it takes for others, and fails.
package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// room is that of sockets: what is to be changed is sent at once, and the kernel
// answers all of it before anybody reads.
const room = 64 << 20

// Dial returns a connection that has room for changes of thousands of services.
func Dial() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		if err := c.SetWriteBuffer(room); err != nil {
			return err
		}
		return c.SetReadBuffer(room)
	}))
}

// AddElements adds to a set that has a name. A message has room for 64 KiB of
// them.
func AddElements(c *nftables.Conn, s *nftables.Set, all []nftables.SetElement) error {
	for some := range slices.Chunk(all, 500) {
		if err := c.SetAddElements(s, some); err != nil {
			return err
		}
	}
	return nil
}

// Generation is the number of the state of all tables in this network namespace:
// each change that anybody makes counts it up by one.
func Generation() (n uint32, err error) {
	answers, err := ask(0, unix.NFT_MSG_GETGEN, 0, nil)
	for _, b := range answers {
		if err := Each(b, func(d *netlink.AttributeDecoder) {
			if d.Type() == unix.NFTA_GEN_ID {
				n = d.Uint32()
			}
		}); err != nil {
			return 0, err
		}
	}
	return n, err
}

// Rules are the messages about the rules of a table or, if it is named, of one of
// its chains, for Each. That there is no such table is no error.
func Rules(f nftables.TableFamily, table, chain string) ([][]byte, error) {
	attributes := []netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: []byte(table + "\x00")}}
	if chain != "" {
		attributes = append(attributes, netlink.Attribute{Type: unix.NFTA_RULE_CHAIN, Data: []byte(chain + "\x00")})
	}
	return ask(f, unix.NFT_MSG_GETRULE, netlink.Dump, attributes)
}

// ask has the kernel answer a question. Its errors are the kernel's numbers.
func ask(f nftables.TableFamily, kind netlink.HeaderType, flags netlink.HeaderFlags, attributes []netlink.Attribute) (answers [][]byte, err error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return nil, err
	}
	messages, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: netlink.Request | flags},
		Data:   append([]byte{byte(f), 0, 0, 0}, b...), // struct nfgenmsg
	})
	for _, m := range messages {
		answers = append(answers, m.Data)
	}
	return answers, err
}

// Each calls f with the attributes of a message, whoever wrote it.
func Each(b []byte, f func(*netlink.AttributeDecoder)) error {
	if len(b) < 4 {
		return fmt.Errorf("nf_tables: an answer of %d bytes", len(b))
	}
	d, err := netlink.NewAttributeDecoder(b[4:])
	if err != nil {
		return fmt.Errorf("nf_tables: %w", err)
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		f(d)
	}
	return d.Err()
}

// Cause is the first error of a transaction. The kernel answers what depends on the
// part that it refused with errors of their own.
func Cause(err error) error {
	if number := unix.Errno(0); errors.As(err, &number) {
		return number
	}
	return err
}

// Comment is what a rule carries so that nft shows it as its comment.
func Comment(text string) []byte { return userdata.AppendString(nil, userdata.TypeComment, text) }
