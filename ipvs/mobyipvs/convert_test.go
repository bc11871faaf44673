package mobyipvs

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b ipvs.Netmask) bool { return a == b }),
}

func tcp(addr string) ipvs.ServiceKey {
	return ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort(addr))
}

// be is what moby/ipvs holds for an IPv4 mask.
func be(a, b, c, d byte) uint32 { return binary.NativeEndian.Uint32([]byte{a, b, c, d}) }

func prefix(n int) ipvs.Netmask {
	m, err := ipvs.PrefixMask(ipvs.IPv6, n)
	if err != nil {
		panic(err)
	}
	return m
}

// What both libraries can say, in both notations.
var services = []struct {
	name string
	ours ipvs.Service
	moby moby.Service
}{
	{
		"IPv4",
		ipvs.Service{ServiceKey: tcp("10.0.0.1:80"), Scheduler: "wlc"},
		moby.Service{Address: net.IP{10, 0, 0, 1}, Protocol: 6, Port: 80, SchedName: "wlc", Netmask: 1<<32 - 1, AddressFamily: unix.AF_INET},
	},
	{
		"persistent with a mask",
		ipvs.Service{ServiceKey: tcp("10.0.0.1:80"), Scheduler: "rr", Flags: ipvs.Persistent, Timeout: time.Hour, Netmask: ipvs.Netmask4([4]byte{255, 255, 255, 0})},
		moby.Service{Address: net.IP{10, 0, 0, 1}, Protocol: 6, Port: 80, SchedName: "rr", Flags: 1, Timeout: 3600, Netmask: be(255, 255, 255, 0), AddressFamily: unix.AF_INET},
	},
	{
		"mask 0.0.0.0 and scheduler flags",
		ipvs.Service{ServiceKey: tcp("10.0.0.1:0"), Scheduler: "sh", Flags: ipvs.Persistent | ipvs.Sched1 | ipvs.OnePacket, Timeout: time.Second, Netmask: ipvs.Netmask4([4]byte{})},
		moby.Service{Address: net.IP{10, 0, 0, 1}, Protocol: 6, SchedName: "sh", Flags: 1 | 8 | 4, Timeout: 1, AddressFamily: unix.AF_INET},
	},
	{
		"IPv6",
		ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("[2001:db8::80]:53")), Scheduler: "rr"},
		moby.Service{Address: net.ParseIP("2001:db8::80"), Protocol: 17, Port: 53, SchedName: "rr", Netmask: 128, AddressFamily: unix.AF_INET6},
	},
	{
		"IPv6 persistent with a prefix",
		ipvs.Service{ServiceKey: tcp("[2001:db8::80]:80"), Scheduler: "rr", Flags: ipvs.Persistent, Timeout: time.Minute, Netmask: prefix(64)},
		moby.Service{Address: net.ParseIP("2001:db8::80"), Protocol: 6, Port: 80, SchedName: "rr", Flags: 1, Timeout: 60, Netmask: 64, AddressFamily: unix.AF_INET6},
	},
	{
		"firewall mark",
		ipvs.Service{ServiceKey: ipvs.MarkService(1<<31, ipvs.IPv4), Scheduler: "rr"},
		moby.Service{FWMark: 1 << 31, SchedName: "rr", Netmask: 1<<32 - 1, AddressFamily: unix.AF_INET},
	},
	{
		"firewall mark IPv6",
		ipvs.Service{ServiceKey: ipvs.MarkService(7, ipvs.IPv6), Scheduler: "rr"},
		moby.Service{FWMark: 7, SchedName: "rr", Netmask: 128, AddressFamily: unix.AF_INET6},
	},
}

func TestServices(t *testing.T) {
	for _, tt := range services {
		t.Run(tt.name, func(t *testing.T) {
			from, err := FromService(&tt.moby)
			if diff := cmp.Diff(tt.ours, from.Service, compare); diff != "" || err != nil {
				t.Errorf("from moby (-want +got):\n%s%v", diff, err)
			}
			to, err := ToService(&tt.ours)
			if diff := cmp.Diff(&tt.moby, to); diff != "" || err != nil {
				t.Errorf("to moby (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestFromServiceRepairs(t *testing.T) {
	tests := []struct {
		name string
		in   moby.Service
		want ipvs.Service
		err  error
	}{
		{
			name: "the kernel's own flag",
			in:   moby.Service{Address: net.IP{10, 0, 0, 1}, Protocol: 6, Port: 80, Flags: 0x3, Netmask: 1<<32 - 1, AddressFamily: unix.AF_INET},
			want: ipvs.Service{ServiceKey: tcp("10.0.0.1:80"), Flags: ipvs.Persistent},
		},
		{
			name: "IPv6 netmask not set",
			in:   moby.Service{Address: net.ParseIP("2001:db8::80"), Protocol: 6, Port: 80, AddressFamily: unix.AF_INET6},
			want: ipvs.Service{ServiceKey: tcp("[2001:db8::80]:80")},
		},
		{
			name: "family not set, IPv4 in 16 bytes",
			in:   moby.Service{Address: net.ParseIP("10.0.0.1"), Protocol: 6, Port: 80, Netmask: 1<<32 - 1},
			want: ipvs.Service{ServiceKey: tcp("10.0.0.1:80")},
		},
		{
			name: "an IPv4-mapped service that moby read",
			in:   moby.Service{Address: net.ParseIP("::ffff:10.0.0.1"), Protocol: 6, Port: 80, Netmask: 128, AddressFamily: unix.AF_INET6},
			want: ipvs.Service{ServiceKey: tcp("[::ffff:10.0.0.1]:80")},
		},
		{
			name: "engine",
			in:   moby.Service{Address: net.IP{10, 0, 0, 1}, Protocol: 17, Port: 5060, PEName: "sip", Netmask: 1<<32 - 1},
			want: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("10.0.0.1:5060")), PE: "sip"},
		},
		{name: "no address", in: moby.Service{Protocol: 6, Port: 80}, err: ipvs.ErrInvalid},
		{name: "mark without family", in: moby.Service{FWMark: 1}, err: ipvs.ErrFamily},
		{name: "family and address differ", in: moby.Service{Address: net.ParseIP("2001:db8::1"), AddressFamily: unix.AF_INET}, err: ipvs.ErrFamily},
		{name: "address and family differ", in: moby.Service{Address: net.IP{10, 0, 0, 1}, AddressFamily: unix.AF_INET6}, err: ipvs.ErrFamily},
		{name: "unknown family", in: moby.Service{Address: net.IP{10, 0, 0, 1}, AddressFamily: 99}, err: ipvs.ErrFamily},
		{name: "prefix too long", in: moby.Service{Address: net.ParseIP("2001:db8::1"), Netmask: 129}, err: ipvs.ErrRange},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FromService(&tt.in)
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got.Service, compare); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestToServiceRefuses(t *testing.T) {
	tests := map[string]struct {
		in  ipvs.Service
		err error
	}{
		"engine":           {ipvs.Service{ServiceKey: tcp("10.0.0.1:80"), PE: "sip"}, ErrNotRepresentable},
		"IPv4-mapped":      {ipvs.Service{ServiceKey: tcp("[::ffff:10.0.0.1]:80")}, ErrNotRepresentable},
		"zone":             {ipvs.Service{ServiceKey: tcp("[fe80::1%eth0]:80")}, ErrNotRepresentable},
		"half a second":    {ipvs.Service{ServiceKey: tcp("10.0.0.1:80"), Timeout: 1500 * time.Millisecond}, ipvs.ErrRange},
		"negative timeout": {ipvs.Service{ServiceKey: tcp("10.0.0.1:80"), Timeout: -time.Second}, ipvs.ErrRange},
		"endless timeout":  {ipvs.Service{ServiceKey: tcp("10.0.0.1:80"), Timeout: 1 << 32 * time.Second}, ipvs.ErrRange},
		"no address":       {ipvs.Service{}, ipvs.ErrInvalid},
	}
	for name, tt := range tests {
		if got, err := ToService(&tt.in); !errors.Is(err, tt.err) || got != nil {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tt.err)
		}
	}
}

var destinations = []struct {
	name string
	key  ipvs.ServiceKey
	ours ipvs.Destination
	moby moby.Destination
}{
	{
		"NAT", tcp("10.0.0.1:80"),
		ipvs.Destination{Addr: netip.MustParseAddrPort("192.168.1.1:8080"), Weight: 65535, Upper: 100, Lower: 50},
		moby.Destination{Address: net.IP{192, 168, 1, 1}, Port: 8080, Weight: 65535, UpperThreshold: 100, LowerThreshold: 50, AddressFamily: unix.AF_INET},
	},
	{
		"IPIP, quiesced", tcp("10.0.0.1:80"),
		ipvs.Destination{Addr: netip.MustParseAddrPort("192.168.1.1:80"), Method: ipvs.Tunnel},
		moby.Destination{Address: net.IP{192, 168, 1, 1}, Port: 80, ConnectionFlags: moby.ConnFwdTunnel, AddressFamily: unix.AF_INET},
	},
	{
		"IPv6 DR", tcp("[2001:db8::80]:80"),
		ipvs.Destination{Addr: netip.MustParseAddrPort("[2001:db8::a1]:80"), Method: ipvs.DirectRoute, Weight: 1},
		moby.Destination{Address: net.ParseIP("2001:db8::a1"), Port: 80, Weight: 1, ConnectionFlags: moby.ConnFwdDirectRoute, AddressFamily: unix.AF_INET6},
	},
}

func TestDestinations(t *testing.T) {
	for _, tt := range destinations {
		t.Run(tt.name, func(t *testing.T) {
			from, err := FromDestination(&tt.moby)
			if diff := cmp.Diff(tt.ours, from.Destination, compare); diff != "" || err != nil {
				t.Errorf("from moby (-want +got):\n%s%v", diff, err)
			}
			to, err := ToDestination(tt.key, &tt.ours)
			if diff := cmp.Diff(&tt.moby, to); diff != "" || err != nil {
				t.Errorf("to moby (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestFromDestinationCounters(t *testing.T) {
	in := moby.Destination{Address: net.IP{10, 0, 0, 1}, Port: 80, Weight: 1, ConnectionFlags: 0x103, ActiveConnections: 1, InactiveConnections: 1<<32 - 1,
		Stats: moby.DstStats{Connections: 1, PacketsIn: 2, PacketsOut: 3, BytesIn: 4, BytesOut: 1 << 40, CPS: 6, PPSIn: 7, PPSOut: 8, BPSIn: 9, BPSOut: 10}}
	want := ipvs.DestinationInfo{
		Destination: ipvs.Destination{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Method: ipvs.DirectRoute, Weight: 1},
		Active:      1, Inactive: 1<<32 - 1,
		Stats: ipvs.Stats{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 4, OutBytes: 1 << 40, CPS: 6, InPPS: 7, OutPPS: 8, InBPS: 9, OutBPS: 10},
	}
	got, err := FromDestination(&in)
	if diff := cmp.Diff(want, got, compare); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
}

func TestDestinationRefused(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.168.1.1:80"), netip.MustParseAddrPort("[2001:db8::a1]:80")
	for name, tt := range map[string]struct {
		key ipvs.ServiceKey
		in  ipvs.Destination
	}{
		"weight 65536":         {tcp("10.0.0.1:80"), ipvs.Destination{Addr: v4, Weight: 65536}},
		"negative weight":      {tcp("10.0.0.1:80"), ipvs.Destination{Addr: v4, Weight: -1}},
		"full NAT":             {tcp("10.0.0.1:80"), ipvs.Destination{Addr: v4, Method: ipvs.FullNAT}},
		"GUE":                  {tcp("10.0.0.1:80"), ipvs.Destination{Addr: v4, Method: ipvs.Tunnel, Encap: ipvs.Encap{Type: ipvs.GUE, Port: 6080}}},
		"GRE":                  {tcp("10.0.0.1:80"), ipvs.Destination{Addr: v4, Method: ipvs.Tunnel, Encap: ipvs.Encap{Type: ipvs.GRE}}},
		"IPv6 on IPv4 service": {tcp("10.0.0.1:80"), ipvs.Destination{Addr: v6, Method: ipvs.Tunnel}},
		"IPv4 on IPv6 service": {tcp("[2001:db8::80]:80"), ipvs.Destination{Addr: v4, Method: ipvs.Tunnel}},
		"IPv6 on IPv4 mark":    {ipvs.MarkService(1, ipvs.IPv4), ipvs.Destination{Addr: v6, Method: ipvs.Tunnel}},
	} {
		if got, err := ToDestination(tt.key, &tt.in); !errors.Is(err, ErrNotRepresentable) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, tt := range map[string]struct {
		in  moby.Destination
		err error
	}{
		"negative weight": {moby.Destination{Address: net.IP{10, 0, 0, 1}, Weight: -1}, ipvs.ErrRange},
		"2^31":            {moby.Destination{Address: net.IP{10, 0, 0, 1}, Weight: 1 << 31}, ipvs.ErrRange},
		"no address":      {moby.Destination{}, ipvs.ErrInvalid},
		"family":          {moby.Destination{Address: net.IP{10, 0, 0, 1}, AddressFamily: unix.AF_INET6}, ipvs.ErrFamily},
	} {
		if _, err := FromDestination(&tt.in); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v; want %v", name, err, tt.err)
		}
	}
}

func TestConfig(t *testing.T) {
	ours := ipvs.Timeouts{TCP: 900 * time.Second, UDP: 300 * time.Second}
	theirs := &moby.Config{TimeoutTCP: 900 * time.Second, TimeoutUDP: 300 * time.Second}
	to, err := ToConfig(ours)
	if diff := cmp.Diff(theirs, to); diff != "" || err != nil {
		t.Errorf("to moby (-want +got):\n%s%v", diff, err)
	}
	from, err := FromConfig(theirs)
	if diff := cmp.Diff(ours, from); diff != "" || err != nil {
		t.Errorf("from moby (-want +got):\n%s%v", diff, err)
	}
	for _, d := range []time.Duration{time.Millisecond, -time.Second, 1500 * time.Millisecond, 1 << 32 * time.Second} {
		for _, x := range []ipvs.Timeouts{{TCP: d}, {TCPFin: d}, {UDP: d}} {
			if _, err := ToConfig(x); !errors.Is(err, ipvs.ErrRange) {
				t.Errorf("to moby %+v: %v", x, err)
			}
			if _, err := FromConfig(&moby.Config{TimeoutTCP: x.TCP, TimeoutTCPFin: x.TCPFin, TimeoutUDP: x.UDP}); !errors.Is(err, ipvs.ErrRange) {
				t.Errorf("from moby %+v: %v", x, err)
			}
		}
	}
}
