package tproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/fullnat/internal/nft"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// is tells whether the table of a family is as write makes it.
func is(f ipvs.Family, want Rules) (bool, error) {
	c, err := nft.Dial()
	if err != nil {
		return false, reason(err)
	}
	t, err := find(c, f)
	if err != nil || t == nil || len(want.Diverts) == 0 {
		return err == nil && t == nil && len(want.Diverts) == 0, err
	}
	chain, err := c.ListChain(t, chainName)
	if absent(err) || err == nil && (chain.Type != nftables.ChainTypeFilter || chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookPrerouting ||
		chain.Priority == nil || *chain.Priority != priority) {
		return false, nil
	}
	if err != nil {
		return false, reason(err)
	}
	have, err := readComments(f)
	if err != nil || !slices.EqualFunc(have, comments, func(b []byte, text string) bool { return bytes.Equal(b, nft.Comment(text)) }) {
		return false, err
	}
	for _, name := range []string{setMarks, setExact, setAddress} {
		have, err := c.GetSetElements(&nftables.Set{Table: t, Name: name})
		if err != nil {
			return false, nil // it is gone, or none of ours
		}
		if !sameElements(have, elements(name, want)) {
			return false, nil
		}
	}
	return true, nil
}

func sameElements(a, b []nftables.SetElement) bool {
	if len(a) != len(b) {
		return false
	}
	m := make(map[string]string, len(a))
	for _, e := range a {
		m[string(e.Key)] = string(e.Val)
	}
	for _, e := range b {
		if v, ok := m[string(e.Key)]; !ok || v != string(e.Val) {
			return false
		}
	}
	return true
}

// find finds our table; nil: there is none.
func find(c *nftables.Conn, f ipvs.Family) (*nftables.Table, error) {
	tables, err := c.ListTablesOfFamily(familyOf(f))
	if err != nil {
		return nil, reason(err)
	}
	for _, t := range tables {
		if t.Name == tableName {
			return t, nil
		}
	}
	return nil, nil
}

func absent(err error) bool { return errors.Is(err, unix.ENOENT) }

// Read reads which packets are diverted now, whoever made the rules.
func Read() (all []Divert, err error) {
	c, err := nft.Dial()
	if err != nil {
		return nil, reason(err)
	}
	for _, f := range families {
		t, err := find(c, f)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		for _, name := range []string{setMarks, setAddress} {
			have, err := c.GetSetElements(&nftables.Set{Table: t, Name: name})
			if err != nil {
				continue // somebody took it away
			}
			for _, e := range have {
				if d, ok := decode(name, f, e); ok {
					all = append(all, d)
				}
			}
		}
	}
	return all, nil
}

// served tells whether packets are diverted to a port that a socket has.
func served() (bool, error) {
	all, err := Read()
	return slices.ContainsFunc(all, taken), err
}

// taken tells whether the port that a Divert leads to is a socket's.
func taken(d Divert) bool {
	kind, at := unix.SOCK_STREAM, unix.Sockaddr(&unix.SockaddrInet4{Port: int(d.Port), Addr: [4]byte{127, 0, 0, 1}})
	family := unix.AF_INET
	if d.Key.AF() == ipvs.IPv6 {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Port: int(d.Port), Addr: netip.IPv6Loopback().As16()}
	}
	if d.Protocol == ipvs.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return errors.Is(unix.Bind(fd, at), unix.EADDRINUSE)
}

// decode reads an element.
func decode(set string, f ipvs.Family, e nftables.SetElement) (d Divert, ok bool) {
	n := len(e.Key) - 4
	if n < 4 || len(e.Val) < 2 {
		return d, false
	}
	d.Protocol, d.Port = ipvs.Protocol(e.Key[n]), binary.BigEndian.Uint16(e.Val)
	if set == setMarks {
		d.Key = ipvs.MarkService(binaryutil.NativeEndian.Uint32(e.Key[:4]), f)
		return d, n == 4
	}
	a, ok := netip.AddrFromSlice(e.Key[:n])
	d.Key = ipvs.AddrService(d.Protocol, netip.AddrPortFrom(a, 0))
	return d, ok
}

// readComments reads the comments of the chain's rules.
func readComments(f ipvs.Family) (all [][]byte, err error) {
	rules, err := nft.Rules(familyOf(f), tableName, chainName)
	for _, b := range rules {
		var text []byte // which is not taken apart: others may have written it
		if err := nft.Each(b, func(d *netlink.AttributeDecoder) {
			if d.Type() == unix.NFTA_RULE_USERDATA {
				text = d.Bytes()
			}
		}); err != nil {
			return nil, reason(err)
		}
		all = append(all, text)
	}
	return all, reason(err)
}
