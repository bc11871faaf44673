package doctor

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// portMatch is a range of ports; all of them is no match at all.
func portMatch(side Field, from, to uint16, not bool) []Match {
	if from == 0 && to == 0xffff && !not {
		return nil
	}
	f := DestinationPort
	if side == Source {
		f = SourcePort
	}
	be := binary.BigEndian
	return []Match{{Field: f, Not: not, Ranges: []Range{{be.AppendUint16(nil, from), be.AppendUint16(nil, to)}}}}
}

// stateMatch holds for any of the states.
func stateMatch(mask uint32, not bool) Match {
	return Match{Field: CTState, Mask: binary.NativeEndian.AppendUint32(nil, mask), Ranges: exactly(make([]byte, 4)), Not: !not}
}

// Flags of xt_conntrack.
const (
	xtConntrackState   = 1 << 0
	xtConntrackOrigDst = 1 << 3
	xtConntrackAlias   = 1 << 13 // the match was called state
)

// conntrackMatches are the state and the address that the client addressed.
func conntrackMatches(flags, invert uint16, state uint32, addr, mask []byte) (list []Match) {
	if flags&xtConntrackState != 0 {
		list = append(list, stateMatch(state, invert&xtConntrackState != 0))
	}
	if flags&xtConntrackOrigDst != 0 {
		list = append(list, addressMatch(addr, mask, invert&xtConntrackOrigDst != 0))
	}
	if flags&^(xtConntrackState|xtConntrackOrigDst|xtConntrackAlias) != 0 {
		list = append(list, Match{Field: Other})
	}
	return list
}

// addressMatch is about the virtual address, of union nf_inet_addr: IPv4 is in
// the first four bytes, the others are zero.
func addressMatch(addr, mask []byte, not bool) Match {
	if len(addr) == 16 && zero(addr[4:]) && zero(mask[4:]) {
		addr, mask = addr[:4], mask[:4]
	}
	return Match{Field: CTVIP, Mask: slices.Clone(mask), Ranges: exactly(slices.Clone(addr)), Not: not}
}

// ipvsMatches reads struct xt_ipvs_mtinfo: address and mask, u16 port, u8
// protocol, u8 method, u16 control port, u8 inverted, u8 asked for.
func ipvsMatches(b []byte) (list []Match) {
	const property, vaddr = 1 << 0, 1 << 2
	invert, asked := b[38], b[39]
	if asked&vaddr != 0 {
		list = append(list, addressMatch(b[:16], b[16:32], invert&vaddr != 0))
	}
	if asked&^(property|vaddr) != 0 || invert&property != 0 {
		list = append(list, Match{Field: Other})
	}
	return list
}

// xtMatches reads the data of a match of x_tables. What it does not know, or
// what is too short, is a match that may hold.
func xtMatches(name string, b []byte) []Match {
	unknown := []Match{{Field: Other}}
	ne := binary.NativeEndian
	switch {
	case name == "comment":
		return nil
	case (name == "tcp" || name == "udp") && len(b) >= 9:
		inv, flags := b[8], byte(0)
		if name == "tcp" && len(b) >= 12 {
			inv, flags = b[11], b[8]|b[9]
		}
		m := portMatch(Source, ne.Uint16(b), ne.Uint16(b[2:]), inv&1 != 0)
		m = append(m, portMatch(Destination, ne.Uint16(b[4:]), ne.Uint16(b[6:]), inv&2 != 0)...)
		if flags != 0 {
			m = append(m, unknown...)
		}
		return m
	case name == "multiport" && len(b) >= 48:
		return multiport(b)
	case name == "conntrack" && len(b) >= 152:
		return conntrackMatches(ne.Uint16(b[146:]), ne.Uint16(b[148:]), uint32(ne.Uint16(b[150:])), b[32:48], b[48:64])
	case name == "ipvs" && len(b) >= 40:
		return ipvsMatches(b)
	case name == "state" && len(b) >= 4:
		return []Match{stateMatch(ne.Uint32(b), false)}
	}
	return unknown
}

// multiport reads xt_multiport_v1: flags 0 source, 1 destination, 2 either;
// a port marked as the begin of a range is followed by its end.
func multiport(b []byte) []Match {
	flags, count, ports, ranges, invert := b[0], int(b[1]), b[2:32], b[32:47], b[47]
	if flags > 1 || count > 15 {
		return []Match{{Field: Other}}
	}
	m := Match{Field: []Field{SourcePort, DestinationPort}[flags], Not: invert != 0}
	be, ne := binary.BigEndian, binary.NativeEndian
	for i := 0; i < count; i++ {
		from := be.AppendUint16(nil, ne.Uint16(ports[2*i:]))
		to := from
		if ranges[i] != 0 && i+1 < count {
			i++
			to = be.AppendUint16(nil, ne.Uint16(ports[2*i:]))
		}
		m.Ranges = append(m.Ranges, Range{from, to})
	}
	return []Match{m}
}

// xtTarget reads a target of x_tables.
func xtTarget(name string, b []byte) (r FilterRule) {
	switch name {
	case "REJECT":
		r.Verdict = Drop
	case "MASQUERADE":
		r.Verdict = Masquerade
	case "SNAT", "NETMAP":
		r.Verdict = SNAT
		r.sourceNAT(b)
	case "MARK":
		r.Verdict = SetMark
		if len(b) >= 4 {
			r.Mark = binary.NativeEndian.Uint32(b)
		}
	case "NOTRACK", "CT":
		r.Verdict = NoTrack
	case "TCPMSS":
		r.Verdict = ClampMSS
	case "NFQUEUE", "TPROXY", "QUEUE", "SYNPROXY":
		r.Verdict = Unclear
	} // LOG, CONNMARK, DNAT in another hook: they decide nothing
	return r
}

const natPorts = 1 << 1 // NF_NAT_RANGE_PROTO_SPECIFIED

// sourceNAT reads the first address and the ports, of struct
// nf_nat_ipv4_multi_range_compat, which begins with a count, or nf_nat_range,
// which is longer: flags, first and last address, first and last port.
func (r *FilterRule) sourceNAT(b []byte) {
	size := 16
	switch {
	case len(b) < 20:
		return
	case len(b) < 40:
		b, size = b[4:], 4
	}
	addr := b[4 : 4+size]
	if zero(addr[4:]) {
		addr = addr[:4]
	}
	r.To, _ = netip.AddrFromSlice(addr)
	if binary.NativeEndian.Uint32(b)&natPorts != 0 {
		ports := b[4+2*size:]
		r.Ports = portCount(binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:]))
	}
}

func portCount(from, to uint16) int { return max(int(to)-int(from)+1, 1) }

var fieldNames = map[Field]string{Source: "saddr", Destination: "daddr", SourcePort: "sport", DestinationPort: "dport",
	L4Proto: "l4proto", NFProto: "nfproto", InIface: "iifname", OutIface: "oifname", CTState: "ct state", PacketMark: "mark", CTVIP: "ct original daddr"}

// describe writes a match for people.
func describe(m Match) string {
	name, ok := fieldNames[m.Field]
	if !ok {
		return "(something else)"
	}
	if m.Field == CTState && len(m.Mask) == 4 && len(m.Ranges) == 1 {
		return name + " " + states(m)
	}
	var values []string
	for _, r := range m.Ranges {
		v := value(m.Field, r.From)
		if !slices.Equal(r.From, r.To) {
			v += "-" + value(m.Field, r.To)
		}
		values = append(values, v)
	}
	if m.Not {
		name += " !="
	}
	if len(m.Mask) == 4 && (m.Field == Source || m.Field == Destination) {
		return fmt.Sprintf("%s %s/%s", name, strings.Join(values, ","), value(m.Field, m.Mask))
	}
	return name + " " + strings.Join(values, ",")
}

func states(m Match) string {
	var words []string
	mask := binary.NativeEndian.Uint32(m.Mask)
	for _, s := range []struct {
		bit  uint32
		name string
	}{{ctInvalid, "invalid"}, {ctEstablished, "established"}, {4, "related"}, {ctNew, "new"}, {64, "untracked"}} {
		if mask&s.bit != 0 {
			words = append(words, s.name)
		}
	}
	text := strings.Join(words, ",")
	if !m.Not {
		text = "!= " + text
	}
	return text
}

func value(f Field, b []byte) string {
	switch {
	case (f == Source || f == Destination || f == CTVIP) && (len(b) == 4 || len(b) == 16):
		a, _ := netip.AddrFromSlice(b)
		return a.String()
	case (f == SourcePort || f == DestinationPort) && len(b) == 2:
		return strconv.Itoa(int(binary.BigEndian.Uint16(b)))
	case f == InIface || f == OutIface:
		return strings.TrimRight(string(b), "\x00")
	case len(b) == 1:
		return strconv.Itoa(int(b[0]))
	}
	return fmt.Sprintf("0x%x", b)
}
