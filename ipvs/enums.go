package ipvs

import (
	"fmt"
	"strconv"
	"strings"
)

// Family is an address family as the kernel numbers it (AF_INET, AF_INET6).
// Zero means: the address tells.
type Family uint16

// The families IPVS balances.
const (
	IPv4 Family = 2
	IPv6 Family = 10
)

var familyNames = names[Family]{kind: "family", list: []name[Family]{{IPv4, "ipv4"}, {IPv6, "ipv6"}}}

func (f Family) String() string               { return familyNames.text(f) }
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }
func (f *Family) UnmarshalText(b []byte) (err error) {
	*f, err = familyNames.parse(string(b))
	return err
}

// Protocol is an IP protocol number. Zero belongs to firewall-mark services,
// which have no protocol of their own.
type Protocol uint16

// The protocols IPVS balances.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

var protocolNames = names[Protocol]{kind: "protocol", list: []name[Protocol]{{TCP, "tcp"}, {UDP, "udp"}, {SCTP, "sctp"}}}

func (p Protocol) String() string               { return protocolNames.text(p) }
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
func (p *Protocol) UnmarshalText(b []byte) (err error) {
	*p, err = protocolNames.parse(string(b))
	return err
}

// Method is how packets reach a destination: the low three bits of the
// kernel's connection flags (IP_VS_CONN_F_FWD_MASK). The zero value is NAT.
type Method uint32

// NAT rewrites the destination address (masquerading), Local delivers on the
// director, Tunnel encapsulates, DirectRoute changes only the MAC address,
// Bypass is set by the kernel itself (cache_bypass). FullNAT rewrites both
// addresses; it is goipvs' own and no kernel knows it.
const (
	NAT         Method = 0
	Local       Method = 1
	Tunnel      Method = 2
	DirectRoute Method = 3
	Bypass      Method = 4
	FullNAT     Method = 5
)

var methodNames = names[Method]{
	kind: "forwarding method",
	list: []name[Method]{{NAT, "nat"}, {Local, "local"}, {Tunnel, "tun"}, {DirectRoute, "dr"}, {Bypass, "bypass"}, {FullNAT, "fullnat"}},
	also: []name[Method]{{NAT, "masq"}, {Tunnel, "ipip"}, {Tunnel, "tunnel"}, {DirectRoute, "gate"}, {DirectRoute, "route"}},
}

// String gives the configuration's words: nat, local, tun, dr, bypass, fullnat.
func (m Method) String() string               { return methodNames.text(m) }
func (m Method) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText also takes masq, gate, route, ipip and tunnel.
func (m *Method) UnmarshalText(b []byte) (err error) {
	*m, err = methodNames.parse(string(b))
	return err
}

// Flags are a service's IP_VS_SVC_F_* bits but for IP_VS_SVC_F_HASHED (2),
// which says only that the kernel has filed the service. Bits that have no name
// here are kept.
type Flags uint32

// The meaning of Sched1 to Sched3 is the scheduler's: sh and mh read Sched1 as
// "fallback" and Sched2 as "port".
const (
	Persistent Flags = 0x01
	OnePacket  Flags = 0x04
	Sched1     Flags = 0x08
	Sched2     Flags = 0x10
	Sched3     Flags = 0x20

	// SchedFlags masks the bits that are the scheduler's.
	SchedFlags = Sched1 | Sched2 | Sched3
)

// TunnelType is an IP_VS_CONN_F_TUNNEL_TYPE_*: how [Tunnel] encapsulates. The
// zero value is IPIP.
type TunnelType uint8

// The encapsulations: IP in IP, generic UDP encapsulation, generic routing
// encapsulation.
const (
	IPIP TunnelType = 0
	GUE  TunnelType = 1
	GRE  TunnelType = 2
)

var tunnelNames = names[TunnelType]{kind: "tunnel type", list: []name[TunnelType]{{IPIP, "ipip"}, {GUE, "gue"}, {GRE, "gre"}}}

func (t TunnelType) String() string               { return tunnelNames.text(t) }
func (t TunnelType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
func (t *TunnelType) UnmarshalText(b []byte) (err error) {
	*t, err = tunnelNames.parse(string(b))
	return err
}

// TunnelFlags are the IP_VS_TUNNEL_ENCAP_FLAG_* bits: which checksums GUE and
// GRE carry. The zero value is none.
type TunnelFlags uint16

// Csum is a checksum, RemCsum remote checksum offload (GUE only).
const (
	Csum    TunnelFlags = 1
	RemCsum TunnelFlags = 2
)

var tunnelFlagNames = names[TunnelFlags]{kind: "tunnel checksum", list: []name[TunnelFlags]{{0, "none"}, {Csum, "csum"}, {RemCsum, "remcsum"}}}

func (f TunnelFlags) String() string               { return tunnelFlagNames.text(f) }
func (f TunnelFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }
func (f *TunnelFlags) UnmarshalText(b []byte) (err error) {
	*f, err = tunnelFlagNames.parse(string(b))
	return err
}

// DaemonState is an IP_VS_STATE_*: what a connection sync daemon does.
type DaemonState uint32

// The states: Master sends, Backup receives.
const (
	Master DaemonState = 1
	Backup DaemonState = 2
)

var daemonNames = names[DaemonState]{kind: "sync daemon state", list: []name[DaemonState]{{Master, "master"}, {Backup, "backup"}}}

func (s DaemonState) String() string               { return daemonNames.text(s) }
func (s DaemonState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s *DaemonState) UnmarshalText(b []byte) (err error) {
	*s, err = daemonNames.parse(string(b))
	return err
}

type name[T ~uint8 | ~uint16 | ~uint32] struct {
	v T
	s string
}

// names is one enum's notation. Values a newer kernel may bring have no name:
// they are written, and read back, as their number.
type names[T ~uint8 | ~uint16 | ~uint32] struct {
	kind       string
	list, also []name[T] // also: understood, never written
}

func (n names[T]) text(v T) string {
	for _, e := range n.list {
		if e.v == v {
			return e.s
		}
	}
	return strconv.FormatUint(uint64(v), 10)
}

func (n names[T]) parse(s string) (T, error) {
	for _, l := range [][]name[T]{n.list, n.also} {
		for _, e := range l {
			if e.s == s {
				return e.v, nil
			}
		}
	}
	if u, err := strconv.ParseUint(s, 10, 32); err == nil && uint64(T(u)) == u {
		return T(u), nil
	}
	words := make([]string, len(n.list))
	for i, e := range n.list {
		words[i] = e.s
	}
	return 0, fmt.Errorf("unknown %s %q (one of %s)", n.kind, s, strings.Join(words, ", "))
}
