package ipvs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func netmask6(t testing.TB, n int) Netmask {
	m, err := PrefixMask(IPv6, n)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// everyService uses every attribute in every family.
func everyService(t testing.TB) []Service {
	v6 := AddrService(UDP, addrPort("[2001:db8::1]:53"))
	return []Service{
		{ServiceKey: testKey, Scheduler: "wlc"},
		{ServiceKey: testKey, Scheduler: "wrr", Flags: Persistent | Sched1, Timeout: 300 * time.Second, Netmask: Netmask4([4]byte{255, 255, 255, 0})},
		{ServiceKey: testKey, Scheduler: "wrr", Flags: Persistent, Timeout: maxPersist * time.Second, Netmask: Netmask4([4]byte{255, 0, 255, 0})},
		{ServiceKey: v6, Scheduler: "sh", Flags: OnePacket | Sched2, PE: "sip"},
		{ServiceKey: v6, Scheduler: "fifteen-bytes-a", Netmask: netmask6(t, 64)},
		{ServiceKey: v6, Scheduler: "rr", Netmask: netmask6(t, 1)},
		{ServiceKey: AddrService(SCTP, addrPort("0.0.0.0:0")), Scheduler: "none", Flags: 0x80000001},
		{ServiceKey: MarkService(7, IPv4), Scheduler: "rr"},
		{ServiceKey: MarkService(1<<32-1, IPv6), Scheduler: "rr", Flags: Persistent, Timeout: time.Second, Netmask: netmask6(t, 128)},
		{ServiceKey: AddrService(253, addrPort("192.0.2.1:65535")), Scheduler: ""},
	}
}

var everyDestination = []Destination{
	{Addr: addrPort("10.0.0.1:80"), Weight: 1},
	{Addr: addrPort("10.0.0.1:0"), Method: DirectRoute, Weight: 1<<31 - 1, Upper: 1<<32 - 1, Lower: 7},
	{Addr: addrPort("10.0.0.1:80"), Method: Tunnel, Weight: -1, Encap: Encap{GUE, 6080, RemCsum}},
	{Addr: addrPort("[2001:db8::10]:80"), Method: Tunnel, Encap: Encap{Type: GRE, Flags: Csum}},
	{Addr: addrPort("[2001:db8::10]:80"), Method: Tunnel},
	{Addr: addrPort("10.0.0.1:80"), Method: 7, Encap: Encap{9, 1, 0x8000}},
}

var everyDaemon = []Daemon{
	{State: Master, Interface: "eth0"},
	{State: Backup, Interface: "fifteen-bytes-a", SyncID: 255, MaxLen: 1400, Group: netip.MustParseAddr("224.0.0.82"), Port: 8850, TTL: 255},
	{State: 9, Interface: "", Group: netip.MustParseAddr("ff02::81"), Port: 1},
}

func TestServiceRoundTrip(t *testing.T) {
	for _, s := range everyService(t) {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			var e wire.Encoder
			putService(&e, &s)
			var got ServiceInfo
			if err := decodeService(e.Buf, &got, interned{}); err != nil {
				t.Fatal(err)
			}
			equal(t, "decoded", ServiceInfo{Service: s}, got)
			if err := s.ServiceKey.check(); err != nil {
				t.Errorf("the decoded key is refused: %v", err)
			}
		})
	}
}

func TestDestinationRoundTrip(t *testing.T) {
	for _, d := range everyDestination {
		t.Run(d.String(), func(t *testing.T) {
			var e wire.Encoder
			putDestination(&e, &d)
			var got DestinationInfo
			if err := decodeDestination(e.Buf, IPv6, &got); err != nil {
				t.Fatal(err)
			}
			equal(t, "decoded", DestinationInfo{Destination: d}, got)
		})
	}
}

func TestDaemonRoundTrip(t *testing.T) {
	for _, d := range everyDaemon {
		t.Run(d.State.String(), func(t *testing.T) {
			var e wire.Encoder
			putDaemon(&e, &d)
			var got Daemon
			if err := decodeDaemon(e.Buf, &got, interned{}); err != nil {
				t.Fatal(err)
			}
			equal(t, "decoded", d, got)
		})
	}
}

// What the kernel gets, as a little-endian machine sends it.
func TestGoldenBytes(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden bytes are those of a little-endian machine")
	}
	service := Service{ServiceKey: testKey, Scheduler: "wlc", Flags: Persistent, Timeout: 300 * time.Second, Netmask: Netmask4([4]byte{255, 255, 255, 0}), PE: "sip"}
	const key4 = "24000100" + "0600010002000000" + "0600020006000000" + "08000300c0000201" + "0600040000500000"
	for _, tc := range []struct {
		name string
		put  func(*wire.Encoder)
		want string
	}{
		{"service", func(e *wire.Encoder) {
			putChange(e, &Change{Op: AddService, Service: service, Destination: Destination{}})
		},
			"50000100" + key4[8:] + "08000600776c6300" + "0c00070001000000ffffffff" + "080008002c010000" + "08000900ffffff00" + "08000b0073697000"},
		{"delete service", func(e *wire.Encoder) {
			putChange(e, &Change{Op: DeleteService, Service: service, Destination: Destination{}})
		}, key4},
		{"IPv6 netmask", func(e *wire.Encoder) {
			putService(e, &Service{ServiceKey: MarkService(7, IPv6), Scheduler: "rr", Netmask: netmask6(t, 64)})
		}, "38000100" + "060001000a000000" + "0800050007000000" + "0700060072720000" + "0c00070000000000ffffffff" + "0800080000000000" + "0800090040000000"},
		{"destination", func(e *wire.Encoder) {
			putChange(e, &Change{Op: AddDestination, Service: service, Destination: Destination{Addr: addrPort("10.0.0.1:8080"), Weight: 70000, Upper: 10, Lower: 5}})
		}, key4 + "3c000200" + "080001000a000001" + "060002001f900000" + "06000b0002000000" + "0800030000000000" + "0800040070110100" + "080005000a000000" + "0800060005000000"},
		{"tunnel", func(e *wire.Encoder) {
			putDestination(e, &Destination{Addr: addrPort("[2001:db8::1]:80"), Method: Tunnel, Weight: 1, Encap: Encap{GUE, 6080, RemCsum}})
		}, "60000200" + "1400010020010db8000000000000000000000001" + "0600020000500000" + "06000b000a000000" + "0800030002000000" + "0800040001000000" + "0800050000000000" + "0800060000000000" + "05000d0001000000" + "06000e0017c00000" + "06000f0002000000"},
		{"delete destination", func(e *wire.Encoder) {
			putChange(e, &Change{Op: DeleteDestination, Service: service, Destination: Destination{Addr: addrPort("10.0.0.1:8080"), Weight: 70000}})
		}, key4 + "1c000200" + "080001000a000001" + "060002001f900000" + "06000b0002000000"},
		{"daemon", func(e *wire.Encoder) {
			putDaemon(e, &Daemon{State: Backup, Interface: "eth0", SyncID: 3, MaxLen: 1400, Group: netip.MustParseAddr("224.0.0.82"), Port: 8850, TTL: 2})
		}, "40000300" + "0800010002000000" + "09000200" + "6574683000000000" + "0800030003000000" + "0600040078050000" + "08000500e0000052" + "0600070092220000" + "0500080002000000"},
		{"timeouts", func(e *wire.Encoder) { putTimeouts(e, &Timeouts{TCP: time.Minute, UDP: time.Second}) }, "080004003c000000" + "0800060001000000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var e wire.Encoder
			tc.put(&e)
			equal(t, "bytes", tc.want, hex.EncodeToString(e.Buf))
		})
	}
}

// kernelDestination is a destination as a kernel reports it, IPv4 addresses in
// 16 bytes and both kinds of counters.
func kernelDestination(e *wire.Encoder, d *DestinationInfo, stats64First bool) {
	m := e.Nest(attrDest)
	var addr [16]byte
	if a := d.Addr.Addr(); a.Is4() {
		b := a.As4()
		copy(addr[:], b[:])
	} else {
		addr = a.As16()
	}
	e.Bytes(destAddr, addr[:])
	e.Port(destPort, d.Addr.Port())
	e.U32(destFwdMethod, uint32(d.Method))
	e.U32(destWeight, uint32(d.Weight))
	e.U32(destActiveConns, d.Active)
	e.U32(destInactConns, d.Inactive)
	e.U32(destPersistConns, d.Persistent)
	e.U16(destAddrFamily, uint16(familyOf(d.Addr.Addr())))
	kinds := []uint16{destStats, destStats64}
	if stats64First {
		kinds[0], kinds[1] = kinds[1], kinds[0]
	}
	for _, k := range kinds {
		n := e.Nest(k)
		c := &d.Stats // in the order of enum IPVS_STATS_ATTR, from 1
		for i, n := range []uint64{c.Conns, c.InPkts, c.OutPkts, c.InBytes, c.OutBytes, c.CPS, c.InPPS, c.OutPPS, c.InBPS, c.OutBPS} {
			if k == destStats64 {
				e.Pair(uint16(i+1), uint32(n), uint32(n>>32))
			} else {
				e.U32(uint16(i+1), uint32(n))
			}
		}
		e.EndNest(n)
	}
	e.U32(999, 1) // something newer
	e.EndNest(m)
}

func TestDecodeDestinationOfKernel(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("kernelDestination writes 64-bit numbers for a little-endian machine")
	}
	want := DestinationInfo{Destination: Destination{Addr: addrPort("10.0.0.1:80"), Method: DirectRoute, Weight: 70000},
		Active: 1, Inactive: 2, Persistent: 3, Stats: Stats{Conns: 5<<32 + 6, InPkts: 7<<32 + 8, OutPkts: 9 << 32, InBytes: 1<<64 - 1,
			OutBytes: 10 << 32, CPS: 11 << 32, InPPS: 12 << 32, OutPPS: 13 << 32, InBPS: 14 << 32, OutBPS: 15 << 32}}
	for _, first := range []bool{false, true} {
		var e wire.Encoder
		kernelDestination(&e, &want, first)
		got := DestinationInfo{Destination: Destination{Upper: 9}} // memory used before
		if err := decodeDestination(e.Buf, IPv4, &got); err != nil {
			t.Fatal(err)
		}
		equal(t, "decoded", want, got)
	}
}

// A kernel from before mixed families does not say which one the address is of.
func TestDecodeDestinationWithoutFamily(t *testing.T) {
	var e wire.Encoder
	m := e.Nest(attrDest)
	e.Bytes(destAddr, append([]byte{10, 0, 0, 1}, make([]byte, 12)...))
	e.Port(destPort, 80)
	n := e.Nest(destStats)
	e.U32(statsConns, 12)
	e.EndNest(n)
	e.EndNest(m)
	var got DestinationInfo
	if err := decodeDestination(e.Buf, IPv4, &got); err != nil {
		t.Fatal(err)
	}
	equal(t, "decoded", DestinationInfo{Destination: Destination{Addr: addrPort("10.0.0.1:80")}, Stats: Stats{Conns: 12}}, got)
}

func TestTimeoutsRoundTrip(t *testing.T) {
	want := Timeouts{TCP: 900 * time.Second, TCPFin: 2678400 * time.Second, UDP: time.Second}
	var e wire.Encoder
	putTimeouts(&e, &want)
	got := Timeouts{}
	if err := decodeTimeouts(e.Buf, &got); err != nil {
		t.Fatal(err)
	}
	equal(t, "decoded", want, got)
}

func TestDecodeHashedIsNotAFlag(t *testing.T) {
	var e wire.Encoder
	putService(&e, &Service{ServiceKey: testKey, Flags: flagHashed | OnePacket})
	var got ServiceInfo
	if err := decodeService(e.Buf, &got, interned{}); err != nil || got.Flags != OnePacket {
		t.Errorf("flags %#x, %v", got.Flags, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	build := func(typ uint16, f func(*wire.Encoder)) []byte {
		var e wire.Encoder
		m := e.Nest(typ)
		f(&e)
		e.EndNest(m)
		return e.Buf
	}
	for _, tc := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"another entry", build(attrDaemon, func(*wire.Encoder) {})},
		{"no address", build(attrService, func(e *wire.Encoder) { e.U16(svcAF, 2) })},
		{"address of 5 bytes", build(attrService, func(e *wire.Encoder) { e.U16(svcAF, 2); e.Bytes(svcAddr, make([]byte, 5)) })},
		{"IPv6 in 4 bytes", build(attrService, func(e *wire.Encoder) { e.U16(svcAF, 10); e.Bytes(svcAddr, make([]byte, 4)) })},
		{"unknown family", build(attrService, func(e *wire.Encoder) { e.U16(svcAF, 99); e.Bytes(svcAddr, make([]byte, 16)) })},
		{"short number", build(attrService, func(e *wire.Encoder) { e.U8(svcAF, 2); e.Bytes(svcAddr, make([]byte, 16)) })},
		{"short statistics", build(attrService, func(e *wire.Encoder) {
			e.U16(svcAF, 2)
			e.Bytes(svcAddr, make([]byte, 16))
			m := e.Nest(svcStats64)
			e.U16(statsConns, 1)
			e.EndNest(m)
		})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s ServiceInfo
			if err := decodeService(tc.b, &s, interned{}); err == nil {
				t.Errorf("taken for %v", s)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	web := Service{ServiceKey: testKey, Scheduler: "rr"}
	of := func(f func(s *Service)) Change {
		s := web
		f(&s)
		return Change{Op: UpdateService, Service: s}
	}
	rs := func(d Destination) Change { return Change{Op: AddDestination, Service: web, Destination: d} }
	good := addrPort("10.0.0.1:80")
	for _, tc := range []struct {
		name string
		ch   Change
		want error
	}{
		{"fine", of(func(*Service) {}), nil},
		{"no operation", Change{Service: web}, ErrInvalid},
		{"unknown operation", Change{Op: 99, Service: web}, ErrInvalid},
		{"no address", of(func(s *Service) { s.Addr = netip.AddrPort{} }), ErrInvalid},
		{"zone", of(func(s *Service) { s.Addr = addrPort("[fe80::1%eth0]:80") }), ErrInvalid},
		{"mapped", of(func(s *Service) { s.Addr = addrPort("[::ffff:192.0.2.1]:80") }), nil}, // an IPv6 address like any other
		{"mapped with zone", of(func(s *Service) { s.Addr = addrPort("[::ffff:192.0.2.1%eth0]:80") }), ErrInvalid},
		{"family of another", of(func(s *Service) { s.Family = IPv6 }), ErrFamily},
		{"family of its own", of(func(s *Service) { s.Family = IPv4 }), ErrFamily}, // compares unequal to the one that is listed
		{"mark and address", of(func(s *Service) { s.FWMark = 7 }), ErrInvalid},
		{"mark and protocol", of(func(s *Service) { s.ServiceKey = ServiceKey{FWMark: 7, Family: IPv4, Protocol: TCP} }), ErrInvalid},
		{"mark of no family", of(func(s *Service) { s.ServiceKey = ServiceKey{FWMark: 7} }), ErrFamily},
		{"mark of another family", of(func(s *Service) { s.ServiceKey = MarkService(7, 1) }), ErrFamily},
		{"mark and address alone", of(func(s *Service) { s.ServiceKey = ServiceKey{FWMark: 7, Family: IPv4, Addr: testKey.Addr} }), ErrInvalid},
		{"mark and mapped address", of(func(s *Service) {
			s.ServiceKey = ServiceKey{FWMark: 7, Family: IPv6, Addr: addrPort("[::ffff:192.0.2.1]:80")}
		}), ErrInvalid},
		{"scheduler of 15", of(func(s *Service) { s.Scheduler = strings.Repeat("x", 15) }), nil},
		{"scheduler of 16", of(func(s *Service) { s.Scheduler = strings.Repeat("x", 16) }), ErrRange},
		{"scheduler with NUL", of(func(s *Service) { s.Scheduler = "rr\x00" }), ErrInvalid},
		{"scheduler that begins with NUL", of(func(s *Service) { s.Scheduler = "\x00rr" }), ErrInvalid},
		{"engine of 16", of(func(s *Service) { s.PE = strings.Repeat("x", 16) }), ErrRange},
		{"hashed", of(func(s *Service) { s.Flags = 2 }), ErrInvalid},
		{"half a second", of(func(s *Service) { s.Timeout = 1500 * time.Millisecond }), ErrRange},
		{"negative", of(func(s *Service) { s.Timeout = -time.Second }), ErrRange},
		{"longest", of(func(s *Service) { s.Timeout = 4294967 * time.Second }), nil},
		{"wraps at 1000 Hz", of(func(s *Service) { s.Timeout = 4294968 * time.Second }), ErrRange},
		{"delete reads the key only", Change{Op: DeleteService, Service: Service{ServiceKey: testKey, Timeout: 1}}, nil},
		{"destination", rs(Destination{Addr: good, Weight: -5, Lower: 2}), nil}, // the kernel says
		{"largest threshold", rs(Destination{Addr: good, Upper: 1<<31 - 1, Lower: 1<<31 - 1}), nil},
		{"upper threshold past int", rs(Destination{Addr: good, Upper: 1 << 31}), ErrRange},
		{"lower threshold past int", rs(Destination{Addr: good, Lower: 1<<32 - 1}), ErrRange},
		{"destination nowhere", rs(Destination{}), ErrInvalid},
		{"destination with zone", rs(Destination{Addr: addrPort("[fe80::1%eth0]:80"), Method: Tunnel}), ErrInvalid},
		{"destination mapped", rs(Destination{Addr: addrPort("[::ffff:10.0.0.1]:80")}), ErrFamily},
		{"other family", rs(Destination{Addr: addrPort("[2001:db8::1]:80"), Method: DirectRoute}), ErrFamily},
		{"other family, tunnel", rs(Destination{Addr: addrPort("[2001:db8::1]:80"), Method: Tunnel}), nil},
		{"full NAT", rs(Destination{Addr: good, Method: FullNAT}), ErrUnsupported},
		{"service of full NAT", of(func(s *Service) { s.FullNAT = true }), ErrUnsupported},
		{"PROXY protocol", of(func(s *Service) { s.Proxy = ProxyV1 }), ErrUnsupported},
		{"plane", of(func(s *Service) { s.Plane = PlaneKernel }), ErrUnsupported},
		{"local address", Change{Op: AddLocal, Service: web, Local: good.Addr()}, ErrUnsupported},
		{"local address, away", Change{Op: DeleteLocal, Service: web, Local: good.Addr()}, ErrUnsupported},
		{"method that would be masked", rs(Destination{Addr: good, Method: 8}), ErrRange},
		{"largest method", rs(Destination{Addr: good, Method: 7}), nil}, // the kernel says
		{"delete nowhere", Change{Op: DeleteDestination, Service: web}, ErrInvalid},
		{"delete reads the address only", Change{Op: DeleteDestination, Service: web, Destination: Destination{Addr: good, Method: FullNAT}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.ch.check(); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func TestCheckOthers(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want error
	}{
		{"largest sync id", (&Daemon{SyncID: 255, Group: netip.MustParseAddr("224.0.0.81"), Interface: strings.Repeat("x", 15)}).check(), nil},
		{"sync id", (&Daemon{SyncID: 256}).check(), ErrRange},
		{"interface", (&Daemon{Interface: strings.Repeat("x", 16)}).check(), ErrRange},
		{"group", (&Daemon{Group: netip.MustParseAddr("::ffff:224.0.0.1")}).check(), ErrFamily},
		{"tcp", (&Timeouts{TCP: time.Millisecond}).check(), ErrRange},
		{"tcp fin", (&Timeouts{TCPFin: -time.Second}).check(), ErrRange},
		{"udp", (&Timeouts{UDP: (1 << 32) * time.Second}).check(), ErrRange},
		{"a group's zone", (&Daemon{Group: netip.MustParseAddr("ff02::5%eth0")}).check(), ErrInvalid},
	} {
		if !errors.Is(tc.err, tc.want) || (tc.err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", tc.name, tc.err, tc.want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	service := everyService(t)[1]
	changes := [...]Change{{Op: AddService, Service: service}, {Op: AddDestination, Service: service, Destination: everyDestination[2]},
		{Op: DeleteDestination, Service: service, Destination: everyDestination[3]}}
	var e wire.Encoder
	allocs := testing.AllocsPerRun(100, func() {
		e.Buf = e.Buf[:0]
		for i := range changes {
			if err := changes[i].check(); err != nil {
				t.Fatal(err)
			}
			m := e.Message(28, 1, 7, 1, 1)
			putChange(&e, &changes[i])
			e.EndMessage(m)
		}
	})
	if allocs != 0 {
		t.Errorf("encoding a change allocates %v times", allocs/3)
	}
	e.Buf = e.Buf[:0]
	putService(&e, &service)
	names, s := interned{}, ServiceInfo{}
	if n := testing.AllocsPerRun(100, func() { _ = decodeService(e.Buf, &s, names) }); n != 0 {
		t.Errorf("decoding a service allocates %v times", n)
	}
	e.Buf = e.Buf[:0]
	d := DestinationInfo{Destination: everyDestination[2]}
	kernelDestination(&e, &d, false)
	if n := testing.AllocsPerRun(100, func() { _ = decodeDestination(e.Buf, IPv4, &d) }); n != 0 {
		t.Errorf("decoding a destination allocates %v times", n)
	}
}
