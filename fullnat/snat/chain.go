package snat

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
)

// Names and signatures, by which rules are known again.

// chainOf is the name of a service's chain, of letters that nft reads, too.
func chainOf(k ipvs.ServiceKey) string {
	if k.FWMark != 0 {
		return markPrefix + strconv.FormatUint(uint64(k.FWMark), 10)
	}
	return k.Protocol.String() + "-" + strings.ReplaceAll(k.Addr.Addr().String(), ":", "_") + "-" + strconv.Itoa(int(k.Addr.Port()))
}

const markPrefix = "fwmark-"

// parseChain is the service whose chain has this name in a table of the family.
func parseChain(f nftables.TableFamily, name string) (k ipvs.ServiceKey, ok bool) {
	if text, is := strings.CutPrefix(name, markPrefix); is {
		mark, err := strconv.ParseUint(text, 10, 32)
		k = ipvs.MarkService(uint32(mark), ipvs.IPv4)
		if f == nftables.TableFamilyIPv6 {
			k.Family = ipvs.IPv6
		}
		return k, err == nil && mark != 0 && chainOf(k) == name
	}
	proto, rest, _ := strings.Cut(name, "-")
	i := strings.LastIndexByte(rest, '-')
	if i < 0 {
		return k, false
	}
	var p ipvs.Protocol
	addr, err := netip.ParseAddr(strings.ReplaceAll(rest[:i], "_", ":"))
	if err != nil || p.UnmarshalText([]byte(proto)) != nil {
		return k, false
	}
	port, err := strconv.ParseUint(rest[i+1:], 10, 16)
	k = ipvs.AddrService(p, netip.AddrPortFrom(addr, uint16(port)))
	return k, err == nil && chainOf(k) == name
}

// sign is the comment of a service's rule, which nft shows. It differs when the
// local addresses do; they would not fit in, as there is room for 256 bytes.
func (s *Service) sign() string {
	h := fnv.New64a()
	for _, a := range s.Locals {
		b := a.As16()
		h.Write(b[:])
	}
	return "full NAT, local addresses: " + strconv.Itoa(len(s.Locals)) + " (" + strconv.FormatUint(h.Sum64(), 16) + ")"
}

// element is the key of a service in its map: registers of four bytes each.
func element(k ipvs.ServiceKey) []byte {
	if k.FWMark != 0 {
		return binary.NativeEndian.AppendUint32(nil, k.FWMark)
	}
	b := append(k.Addr.Addr().AsSlice(), byte(k.Protocol), 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(b, k.Addr.Port()), 0, 0)
}
