package procfs

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Connection is one entry of the connection table: a connection, or a
// persistence template, which has client port 0 and the state NONE or ASSURED.
type Connection struct {
	// Protocol is zero for the template of a firewall-mark service, whose
	// Virtual is the mark written as an address: see FWMark.
	Protocol                     ipvs.Protocol
	Client, Virtual, Destination netip.AddrPort
	State                        string        // the kernel's word: ESTABLISHED
	Expires                      time.Duration // from now, whole seconds; 0 when due
	// PE and PEData are the persistence engine and what it goes by, such as a
	// SIP Call-ID. The data comes from packets and may hold any byte.
	PE, PEData string
	// Origin is LOCAL, or SYNC when a sync daemon brought it. Only
	// [ConnectionSyncFile] tells.
	Origin string
}

// FWMark returns the mark of a firewall-mark service's template. The kernel
// puts the mark where the virtual address is (0.0.0.10 for mark 10, in IPv6 the
// first 32 bits).
func (c *Connection) FWMark() (mark uint32, ok bool) {
	if c.Protocol != 0 || !c.Virtual.IsValid() {
		return 0, false
	}
	b := c.Virtual.Addr().AsSlice()
	return binary.BigEndian.Uint32(b), true
}

// MarkAddr is what the template of a firewall-mark service has for its Virtual:
// the mark that FWMark reads.
func MarkAddr(mark uint32, f ipvs.Family) netip.AddrPort {
	b := binary.BigEndian.AppendUint32(nil, mark)
	if f == ipvs.IPv6 {
		b = append(b, make([]byte, 12)...)
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, 0)
}

// protocols are the kernel's names (ip_vs_proto_name in ip_vs_core.c).
var protocols = [...]struct {
	name string
	p    ipvs.Protocol
}{
	{"TCP", ipvs.TCP}, {"UDP", ipvs.UDP}, {"SCTP", ipvs.SCTP}, {"IP", 0},
	{"ICMP", 1}, {"ICMPv6", 58},
}

// ProtocolName is the protocol as the kernel writes it: TCP, IP, IP_47.
func (c *Connection) ProtocolName() string {
	for _, e := range protocols {
		if e.p == c.Protocol {
			return e.name
		}
	}
	return "IP_" + strconv.FormatUint(uint64(c.Protocol), 10)
}

func parseProtocol(b []byte) (ipvs.Protocol, bool) {
	for _, e := range protocols {
		if string(b) == e.name {
			return e.p, true
		}
	}
	if len(b) > 3 && string(b[:3]) == "IP_" {
		n, err := strconv.ParseUint(string(b[3:]), 10, 16)
		return ipvs.Protocol(n), err == nil
	}
	return 0, false
}
