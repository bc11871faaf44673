package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Mode is how packets come from the director.
type Mode string

// The modes.
const (
	DR  Mode = "dr"  // unchanged, in a frame to this host's MAC address
	TUN Mode = "tun" // inside another packet
)

// ParseMode reads dr or tun.
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); m == DR || m == TUN {
		return m, nil
	}
	return "", fmt.Errorf("%q is no mode; use dr or tun", s)
}

// Tunnel is what the packets of TUN come in.
type Tunnel struct {
	Kind string // ipip, gre or gue; empty is ipip
	Port uint16 // UDP, of gue
}

// ParseTunnel reads ipip, gre or gue:PORT.
func ParseTunnel(s string) (t Tunnel, err error) {
	kind, port, has := strings.Cut(s, ":")
	switch {
	case (kind == "ipip" || kind == "gre") && !has:
		return Tunnel{Kind: kind}, nil
	case kind == "gue" && has:
		n, err := strconv.ParseUint(port, 10, 16)
		if err == nil && n > 0 {
			return Tunnel{Kind: kind, Port: uint16(n)}, nil
		}
	}
	return t, fmt.Errorf("%q is no tunnel; use ipip, gre or gue:PORT", s)
}

// String is what ParseTunnel reads.
func (t Tunnel) String() string {
	if t.Port != 0 {
		return t.Kind + ":" + strconv.Itoa(int(t.Port))
	}
	return t.Kind
}

// MarshalText is String.
func (t Tunnel) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseTunnel; the empty text is the zero Tunnel.
func (t *Tunnel) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*t = Tunnel{}
		return nil
	}
	*t, err = ParseTunnel(string(text))
	return err
}

// Spec says how VIPs are served. The zero value is direct routing with the VIP
// on lo.
type Spec struct {
	Mode   Mode   // empty: DR
	Dev    string // has the VIP; empty: lo, or with TUN the tunnel's device
	Tunnel Tunnel // of TUN; zero: ipip
	// Outer is the IP version, 4 or 6, of the packets around those of TUN. 0: as
	// the VIP's.
	Outer int
}

// VIP is a virtual address and how it is served.
type VIP struct {
	Addr   netip.Addr `json:"addr"`
	Mode   Mode       `json:"mode"`
	Dev    string     `json:"dev"`
	Tunnel Tunnel     `json:"tunnel,omitzero"`
	Outer  int        `json:"outer,omitempty"`
	// Found: the address was there before us, and stays when we go.
	Found bool `json:"found,omitempty"`
	// Leaving: it is being deleted.
	Leaving bool `json:"leaving,omitempty"`
}

// vip is the spec for one address, with all defaults filled in.
func (s Spec) vip(addr netip.Addr) (VIP, error) {
	v := VIP{Addr: addr, Mode: s.Mode, Dev: s.Dev}
	if v.Mode == "" {
		v.Mode = DR
	}
	if v.Mode == TUN {
		v.Tunnel, v.Outer = s.Tunnel, s.Outer
		if v.Tunnel.Kind == "" {
			v.Tunnel.Kind = "ipip"
		}
		if v.Outer == 0 {
			v.Outer = version(addr)
		}
	} else if s.Tunnel != (Tunnel{}) || s.Outer != 0 {
		return v, errors.New("a tunnel needs mode tun")
	}
	if v.Dev == "" {
		v.Dev = "lo"
		if v.Mode == TUN {
			v.Dev = v.receiver()
		}
	}
	return v, nil
}

// as is true for VIPs that are served alike.
func (v VIP) as(w VIP) bool {
	v.Found, v.Leaving, w.Found, w.Leaving = false, false, false, false
	return v == w
}

func (v VIP) host() string { return netip.PrefixFrom(v.Addr, v.Addr.BitLen()).String() }

func version(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// receiver is the device on which the packets of a tunnel come out: the one the
// module makes in every namespace, which takes packets from any sender.
func (v VIP) receiver() string {
	switch {
	case v.Mode != TUN:
		return ""
	case v.Tunnel.Kind == "gre" && v.Outer == 4:
		return "gre0"
	case v.Tunnel.Kind == "gre":
		return "ip6gre0"
	case v.Outer == 6:
		return "ip6tnl0"
	case v.Addr.Is4():
		return "tunl0"
	}
	return "sit0"
}

// modules of the receivers, for hints.
var modules = map[string]string{"tunl0": "ipip", "sit0": "sit", "ip6tnl0": "ip6_tunnel", "gre0": "ip_gre", "ip6gre0": "ip6_gre"}
