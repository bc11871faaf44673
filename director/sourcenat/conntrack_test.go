package sourcenat

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
)

// entry is TCP 10.1.0.2:40000 -> 192.0.2.10:80, answered 10.9.0.11:80 ->
// 10.9.1.1:40000, in TIME_WAIT.
const entry = "\x02\x00\x00\x00" +
	"\x34\x00\x01\x80\x14\x00\x01\x80\x08\x00\x01\x00\x0a\x01\x00\x02\x08\x00\x02\x00\xc0\x00\x02\x0a\x1c\x00\x02\x80\x05\x00\x01\x00\x06\x00\x00\x00\x06\x00\x02\x00\x9c\x40\x00\x00\x06\x00\x03\x00\x00\x50\x00\x00" +
	"\x34\x00\x02\x80\x14\x00\x01\x80\x08\x00\x01\x00\x0a\x09\x00\x0b\x08\x00\x02\x00\x0a\x09\x01\x01\x1c\x00\x02\x80\x05\x00\x01\x00\x06\x00\x00\x00\x06\x00\x02\x00\x00\x50\x00\x00\x06\x00\x03\x00\x9c\x40\x00\x00" +
	"\x08\x00\x03\x00\x00\x00\x00\x1e" + "\x10\x00\x04\x80\x0c\x00\x01\x80\x05\x00\x01\x00\x07\x00\x00\x00"

// Whatever comes from the kernel is read without a panic.
func FuzzDecodeConnection(f *testing.F) {
	f.Add([]byte(entry))
	f.Add([]byte{2, 0, 0, 0, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := decodeConnection(b)
		if ok && (!c.Client.IsValid() || !c.Local.IsValid()) {
			t.Errorf("%+v", c)
		}
	})
}

// TestDecodeConnection: an entry as the kernel writes it.
func TestDecodeConnection(t *testing.T) {
	b := []byte(entry)
	c, ok := decodeConnection(b)
	if !ok || c.Protocol != ipvs.TCP || c.Virtual.String() != "192.0.2.10:80" || c.Client.String() != "10.1.0.2:40000" || c.Server.String() != "10.9.0.11:80" || c.Local.String() != "10.9.1.1:40000" || !c.Closed {
		t.Errorf("%+v, %v", c, ok)
	}
	b[115] = 0x0e // no source NAT
	if c, ok := decodeConnection(b); ok {
		t.Errorf("%+v has a local address", c)
	}
}

// TestFinder: connections of addresses are known by these, those of firewall
// marks by where they go and come from.
func TestFinder(t *testing.T) {
	at, lip := netip.MustParseAddrPort, netip.MustParseAddr("10.9.1.1")
	web := snat.Service{Key: ipvs.AddrService(ipvs.TCP, at("192.0.2.10:80"))}
	every := snat.Service{Key: ipvs.AddrService(ipvs.TCP, at("192.0.2.11:0"))}
	group := snat.Service{Key: ipvs.MarkService(7, ipvs.IPv4), Locals: []netip.Addr{lip}, Servers: []netip.AddrPort{at("10.9.0.11:0"), at("10.9.0.12:8080")}}
	other := snat.Service{Key: ipvs.MarkService(8, ipvs.IPv4), Locals: []netip.Addr{lip.Next()}, Servers: group.Servers}
	find := newFinder([]snat.Service{web, every, group, other})
	for _, test := range []struct {
		virtual, server, local string
		want                   ipvs.ServiceKey
	}{
		{"192.0.2.10:80", "10.9.0.11:80", "10.9.1.1:1", web.Key},
		{"192.0.2.11:81", "10.9.0.11:81", "10.9.1.1:1", every.Key},
		{"192.0.2.10:81", "10.9.0.11:81", "10.9.1.1:1", group.Key},
		{"192.0.2.10:81", "10.9.0.12:8080", "10.9.1.1:1", group.Key},
		{"192.0.2.10:81", "10.9.0.12:8080", "10.9.1.2:1", other.Key},
		{"192.0.2.10:81", "10.9.0.12:81", "10.9.1.1:1", ipvs.ServiceKey{}}, // no such server
		{"192.0.2.10:81", "10.9.0.11:81", "10.9.1.3:1", ipvs.ServiceKey{}}, // no such local address
		{"10.9.0.11:81", "10.9.0.11:81", "10.9.1.1:1", ipvs.ServiceKey{}},  // not by IPVS
	} {
		c := Connection{Protocol: ipvs.TCP, Client: at("172.16.0.1:1"), Virtual: at(test.virtual), Server: at(test.server), Local: at(test.local)}
		if found := find.service(&c); found != (test.want != ipvs.ServiceKey{}) || found && c.Service != test.want {
			t.Errorf("%+v: found %v, %s, want %s", test, found, c.Service, test.want)
		}
		// Whatever its local address, it is to be forgotten with them.
		if has, want := find.has(&c), test.want != (ipvs.ServiceKey{}) || test.local == "10.9.1.3:1"; has != want {
			t.Errorf("%+v: has %v", test, has)
		}
	}
}
