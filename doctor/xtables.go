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
const xtConntrackState = 1

func ctStateMatch(flags, invert uint16, state uint32) Match {
	const alias = 1 << 13 // XT_CONNTRACK_STATE_ALIAS: the match was called state
	if flags&^alias != xtConntrackState {
		return Match{Field: Other}
	}
	return stateMatch(state, invert&xtConntrackState != 0)
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
		return []Match{ctStateMatch(ne.Uint16(b[146:]), ne.Uint16(b[148:]), uint32(ne.Uint16(b[150:])))}
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
func xtTarget(name string, b []byte) (v Verdict, mark uint32, to netip.Addr) {
	switch name {
	case "REJECT":
		return Drop, 0, to
	case "MASQUERADE":
		return Masquerade, 0, to
	case "SNAT", "NETMAP":
		if len(b) >= 12 { // count, flags, first address (nf_nat_ipv4_multi_range_compat)
			to = netip.AddrFrom4([4]byte(b[8:12]))
		}
		return SNAT, 0, to
	case "MARK":
		if len(b) >= 4 {
			mark = binary.NativeEndian.Uint32(b)
		}
		return SetMark, mark, to
	case "NOTRACK", "CT":
		return NoTrack, 0, to
	case "TCPMSS":
		return ClampMSS, 0, to
	case "NFQUEUE", "TPROXY", "QUEUE", "SYNPROXY":
		return Unclear, 0, to
	}
	return Continue, 0, to // LOG, CONNMARK, DNAT in another hook ...
}

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
