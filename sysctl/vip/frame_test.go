package vip

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	mac  = MAC{2, 0, 0, 0, 0, 9}
	vip4 = netip.MustParseAddr("192.0.2.10")
	vip6 = netip.MustParseAddr("2001:db8:ffff::10")
	addr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
)

var bridge = MAC{2, 0, 0, 0, 0, 0xb}

// by is a frame that another host sends on.
func by(other MAC, frame []byte) []byte {
	copy(frame[6:12], other[:])
	return frame
}

// TestFrames: what is built is read as what it is, and whose address hosts learn.
func TestFrames(t *testing.T) {
	own4, own6 := netip.MustParseAddr("10.9.0.11"), netip.MustParseAddr("fe80::9")
	for _, c := range []struct {
		name   string
		frame  []byte
		want   Message
		claims bool
	}{
		{"probe", ask4(mac, netip.IPv4Unspecified(), vip4), Message{WhoHas, mac, mac, MAC{}, netip.IPv4Unspecified(), vip4}, false},
		{"request", ask4(mac, own4, vip4), Message{WhoHas, mac, mac, MAC{}, own4, vip4}, false},
		{"request as the VIP", ask4(mac, vip4, own4), Message{WhoHas, mac, mac, MAC{}, vip4, own4}, true},
		{"reply", arp(2, broadcast, mac, vip4, MAC{4}, own4), Message{IsAt, mac, mac, MAC{4}, vip4, own4}, true},
		{"solicitation", ask6(mac, own6, vip6), Message{Solicit, mac, mac, MAC{}, own6, vip6}, false},
		{"detection of duplicates", ask6(mac, netip.IPv6Unspecified(), vip6), Message{Solicit, mac, mac, MAC{}, netip.IPv6Unspecified(), vip6}, false},
		{"advertisement", tell6(mac, vip6, true), Message{Advertise, mac, mac, MAC{}, vip6, vip6}, true},
		{"reply by a bridge", by(bridge, arp(2, broadcast, mac, vip4, MAC{4}, own4)), Message{IsAt, bridge, mac, MAC{4}, vip4, own4}, true},
		{"advertisement by a bridge", by(bridge, tell6(mac, vip6, true)), Message{Advertise, bridge, mac, MAC{}, vip6, vip6}, true},
		{"advertisement without the option", tell6(mac, vip6, true)[:14+40+24], Message{Advertise, mac, mac, MAC{}, vip6, vip6}, true},
		{"solicitation by a bridge", by(bridge, ask6(mac, own6, vip6)), Message{Solicit, bridge, mac, MAC{}, own6, vip6}, false},
	} {
		m, ok := Decode(c.frame)
		if diff := cmp.Diff(c.want, m, addr); !ok || diff != "" {
			t.Errorf("%s: ok %v (-want +got)\n%s", c.name, ok, diff)
		}
		if got := m.Claims(vip4) || m.Claims(vip6); got != c.claims {
			t.Errorf("%s claims the VIP: %v", c.name, got)
		}
	}
}

// TestSolicitationBytes: against a frame written down by hand from RFC 4861.
func TestSolicitationBytes(t *testing.T) {
	want := strings.Join(strings.Fields(`3333ff000010 020000000009 86dd 60000000 0020 3a ff
		fe800000000000000000000000000009 ff0200000000000000000001ff000010
		87 00 6bac 00000000 20010db8ffff00000000000000000010 0101 020000000009`), "")
	got := hex.EncodeToString(ask6(mac, netip.MustParseAddr("fe80::9"), vip6))
	// All but the checksum, which the kernel judges in TestKernelProvoke.
	if got[:112] != want[:112] || got[116:] != want[116:] {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(ask4(mac, vip4, vip4))
	f.Add(tell6(mac, vip6, false))
	f.Add(ask6(mac, netip.IPv6Unspecified(), vip6))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, ok := Decode(frame)
		if ok && (m.Kind == "" || !m.Sender.IsValid() || m.Sender.Is4() != m.Target.Is4()) {
			t.Errorf("%x: %+v", frame, m)
		}
	})
}

func TestParse(t *testing.T) {
	for _, s := range []string{"192.0.2.10", "10.0.0.1", "2001:db8::1", "fd00::1"} {
		if a, err := Parse(s); err != nil || a.String() != s {
			t.Errorf("%s: %v, %v", s, a, err)
		}
	}
	for s, why := range map[string]string{
		"web":              `"web" is not an IP address`,
		"":                 `"" is not an IP address`,
		"192.0.2.10/32":    `"192.0.2.10/32": give the address alone, 192.0.2.10; it is always a host address, not /32`,
		"192.0.2":          `"192.0.2" is not an IP address`,
		"127.0.0.1":        "127.0.0.1 is a loopback address, which no client can reach",
		"::1":              "::1 is a loopback address, which no client can reach",
		"0.0.0.0":          "0.0.0.0 is no host's address",
		"::":               ":: is no host's address",
		"224.0.0.81":       "224.0.0.81 is not an address of one host",
		"255.255.255.255":  "255.255.255.255 is not an address of one host",
		"ff02::1":          "ff02::1 is not an address of one host",
		"fe80::1":          "fe80::1 is link-local; clients behind a router cannot reach it",
		"fe80::1%eth0":     "fe80::1%eth0 has a zone; a virtual address is the same on all interfaces",
		"240.0.0.1":        "240.0.0.1 is in a reserved range",
		"::ffff:192.0.2.1": "::ffff:192.0.2.1 is an IPv4 address in IPv6 notation; write 192.0.2.1",
	} {
		if _, err := Parse(s); err == nil || err.Error() != why {
			t.Errorf("%s: %v\nwant: %s", s, err, why)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"192.0.2.10", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1%eth0", "10.0.0.1/32"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(a.String()); err != nil || again != a || a.Zone() != "" || a.Is4In6() {
			t.Errorf("%q is %v, which reads as %v, %v", s, a, again, err)
		}
	})
}
