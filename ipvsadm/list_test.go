package ipvsadm

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files of listings")

// golden compares got with testdata/NAME.golden.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// memory is a Reader that holds what no kernel would take.
type memory struct {
	services []ipvs.ServiceInfo
	dests    map[ipvs.ServiceKey][]ipvs.DestinationInfo
	errs     map[ipvs.ServiceKey]error // of Destinations
}

func (m *memory) Info() (ipvs.Info, error) {
	return ipvs.Info{Version: ipvs.Version{Major: 1, Minor: 2, Patch: 1}, ConnTabSize: 4096}, nil
}

func (m *memory) Services() ([]ipvs.ServiceInfo, error) { return slices.Clone(m.services), nil }

func (m *memory) Service(k ipvs.ServiceKey) (ipvs.ServiceInfo, error) {
	for _, s := range m.services {
		if s.ServiceKey == k {
			return s, nil
		}
	}
	return ipvs.ServiceInfo{}, ipvs.ErrNoService
}

func (m *memory) Destinations(k ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	return append(buf, m.dests[k]...), m.errs[k]
}

func (m *memory) add(s ipvs.ServiceInfo, ds ...ipvs.DestinationInfo) {
	m.services = append(m.services, s)
	if m.dests == nil {
		m.dests = make(map[ipvs.ServiceKey][]ipvs.DestinationInfo)
	}
	m.dests[s.ServiceKey] = ds
}

func tcp(addr string) ipvs.ServiceKey {
	return ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort(addr))
}

func svc(k ipvs.ServiceKey, scheduler string, f ipvs.Flags) ipvs.Service {
	return ipvs.Service{ServiceKey: k, Scheduler: scheduler, Flags: f}
}

func dest(addr string, m ipvs.Method, weight int32) ipvs.DestinationInfo {
	return ipvs.DestinationInfo{Destination: ipvs.Destination{Addr: netip.MustParseAddrPort(addr), Method: m, Weight: weight}}
}

// strange is a table of everything that may come, in no order.
func strange() *memory {
	m := new(memory)
	big := ipvs.Stats{Conns: 1<<32 + 7, InPkts: 99_999_999, OutPkts: 100_000_000, InBytes: 1_000_000_000, OutBytes: 1<<64 - 1,
		CPS: 1, InPPS: 123_456_789, OutPPS: 1_234_567_890_123, InBPS: 99_999_999_999, OutBPS: 100_000_000_000_000}
	web := ipvs.ServiceInfo{Service: svc(tcp("10.0.0.1:80"), "wrr", ipvs.Persistent|ipvs.OnePacket|ipvs.SchedFlags), Stats: big}
	web.Timeout, web.PE, web.Netmask = 360*time.Second, "sip", ipvs.Netmask4([4]byte{255, 0, 255, 0})
	loaded := dest("192.168.1.11:80", ipvs.NAT, 1<<31-1)
	loaded.Upper, loaded.Lower, loaded.Active, loaded.Inactive, loaded.Persistent, loaded.Stats = 1<<32-1, 50, 1<<32-1, 7, 3, big
	m.add(web, loaded, dest("192.168.1.11:8080", ipvs.Local, 0), dest("10.1.0.1:80", ipvs.Bypass, 1),
		dest("192.168.1.9:80", ipvs.FullNAT, -5), dest("192.168.1.10:80", 7, 1), dest("127.0.0.1:80", ipvs.DirectRoute, 1))

	gue := dest("[2001:db8::a1]:80", ipvs.Tunnel, 1)
	gue.Encap = ipvs.Encap{Type: ipvs.GUE, Port: 65535, Flags: ipvs.RemCsum | ipvs.Csum}
	gre := dest("192.168.1.12:443", ipvs.Tunnel, 1)
	gre.Encap = ipvs.Encap{Type: ipvs.GRE, Flags: ipvs.Csum}
	plain := dest("192.168.1.13:443", ipvs.Tunnel, 1)
	newer := dest("192.168.1.14:443", ipvs.Tunnel, 1)
	newer.Encap = ipvs.Encap{Type: 9, Flags: 0}
	m.add(ipvs.ServiceInfo{Service: svc(tcp("9.255.0.1:443"), "sh", ipvs.Sched1|ipvs.Sched3)}, gue, gre, plain, newer)

	m.add(ipvs.ServiceInfo{Service: svc(ipvs.AddrService(132, netip.MustParseAddrPort("192.168.0.1:3868")), "mh", ipvs.Sched2)})
	m.add(ipvs.ServiceInfo{Service: svc(ipvs.AddrService(47, netip.MustParseAddrPort("10.0.0.1:1")), "none", 0)})
	m.add(ipvs.ServiceInfo{Service: svc(ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("[2001:db8:1111:2222:3333:4444:5555:6666]:65535")), "rr", ipvs.OnePacket|0x140)},
		dest("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535", ipvs.NAT, 1), dest("[::10.0.0.1]:1", ipvs.NAT, 1), dest("[::ffff:10.0.0.1]:1", ipvs.NAT, 1), dest("[::1]:1", ipvs.NAT, 1))
	six := ipvs.ServiceInfo{Service: svc(tcp("[fd00::1]:80"), "lblcr", ipvs.Persistent)}
	six.Timeout = time.Minute
	six.Netmask, _ = ipvs.PrefixMask(ipvs.IPv6, 64)
	m.add(six)
	hidden := ipvs.ServiceInfo{Service: svc(tcp("10.0.0.1:443"), "rr", 0)} // held by the kernel, not in effect
	hidden.Timeout, hidden.PE, hidden.Netmask = time.Minute, "sip", ipvs.Netmask4([4]byte{255, 255, 255, 0})
	m.add(hidden)
	m.add(ipvs.ServiceInfo{Service: svc(ipvs.MarkService(1<<32-1, ipvs.IPv4), "rr", 0)}, dest("192.168.1.11:0", ipvs.DirectRoute, 1))
	m.add(ipvs.ServiceInfo{Service: svc(ipvs.MarkService(10, ipvs.IPv6), "rr", 0)})
	m.add(ipvs.ServiceInfo{Service: svc(ipvs.MarkService(10, ipvs.IPv4), "rr", 0)})
	return m
}

func TestListGolden(t *testing.T) {
	tests := []struct {
		name string
		o    ListOptions
	}{
		{"default", ListOptions{}},
		{"nosort", ListOptions{NoSort: true}},
		{"tunnel", ListOptions{View: ViewTunnel}},
		{"stats", ListOptions{View: ViewStats}},
		{"stats-exact", ListOptions{View: ViewStats, Exact: true}},
		{"rate", ListOptions{View: ViewRate}},
		{"rate-exact", ListOptions{View: ViewRate, Exact: true}},
		{"thresholds", ListOptions{View: ViewThresholds}},
		{"persistent", ListOptions{View: ViewPersistent}},
		{"json", ListOptions{JSON: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := List(&b, strange(), tt.o); err != nil {
				t.Fatal(err)
			}
			golden(t, "list-"+tt.name, b.Bytes())
		})
	}
}

func TestSaveGolden(t *testing.T) {
	var b bytes.Buffer
	if err := Save(&b, strange(), SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "save", b.Bytes())
}

func TestListServiceGolden(t *testing.T) {
	var b bytes.Buffer
	for _, o := range []ListOptions{{}, {JSON: true}} {
		if err := ListService(&b, strange(), tcp("9.255.0.1:443"), o); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "list-service", b.Bytes())
}

func TestListServiceMissing(t *testing.T) {
	for _, o := range []ListOptions{{}, {JSON: true}} {
		var b bytes.Buffer
		err := ListService(&b, strange(), tcp("9.9.9.9:9"), o)
		if !errors.Is(err, ipvs.ErrNoService) || b.Len() > 0 {
			t.Errorf("error %v, output %q; want ErrNoService and none", err, b.String())
		}
	}
}

func TestListVanishedService(t *testing.T) {
	m := strange()
	m.errs = map[ipvs.ServiceKey]error{tcp("10.0.0.1:80"): ipvs.ErrNoService}
	var with, without bytes.Buffer
	if err := List(&with, m, ListOptions{}); err != nil {
		t.Fatal(err)
	}
	m = strange()
	m.services = slices.DeleteFunc(m.services, func(s ipvs.ServiceInfo) bool { return s.ServiceKey == tcp("10.0.0.1:80") })
	if err := List(&without, m, ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(without.String(), with.String()); diff != "" {
		t.Errorf("a service that vanished is as one that never was (-want +got):\n%s", diff)
	}
}

// What was read before an error is printed: it is true, and it is what ipvsadm
// does.
func TestListBreaksOff(t *testing.T) {
	m := strange()
	m.errs = map[ipvs.ServiceKey]error{tcp("10.0.0.1:80"): ipvs.ErrTimeout}
	var b bytes.Buffer
	err := List(&b, m, ListOptions{})
	if !errors.Is(err, ipvs.ErrTimeout) || !strings.Contains(b.String(), "9.255.0.1:443") || strings.Contains(b.String(), "10.0.0.1:80 ") {
		t.Errorf("error %v, output:\n%s", err, b.String())
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestListWriteError(t *testing.T) {
	for _, o := range []ListOptions{{}, {JSON: true}} {
		if err := List(brokenPipe{}, strange(), o); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := Save(brokenPipe{}, strange(), SaveOptions{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("save: %v", err)
	}
}

func TestCounter(t *testing.T) {
	tests := []struct {
		v             uint64
		scaled, exact string
	}{
		{0, "        0", "        0"},
		{99_999_999, " 99999999", " 99999999"},
		{100_000_000, "  100000K", " 100000000"},
		{999_999_999, "  999999K", " 999999999"},
		{1_000_000_000, "    1000M", " 1000000000"},
		{99_999_999_999, "   99999M", " 99999999999"},
		{100_000_000_000, "     100G", " 100000000000"},
		{99_999_999_999_999, "   99999G", " 99999999999999"},
		{100_000_000_000_000, "     100T", " 100000000000000"},
		{1<<64 - 1, "18446744T", " 18446744073709551615"},
	}
	for _, tt := range tests {
		if got := string(appendCounter(nil, tt.v, false)); got != tt.scaled {
			t.Errorf("%d: %q, want %q", tt.v, got, tt.scaled)
		}
		if got := string(appendCounter(nil, tt.v, true)); got != tt.exact {
			t.Errorf("%d exact: %q, want %q", tt.v, got, tt.exact)
		}
	}
}

func large(services, dests int) *memory {
	m := new(memory)
	for i := range services {
		k := ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 80))
		ds := make([]ipvs.DestinationInfo, dests)
		for j := range ds {
			ds[j] = dest("192.168.1.1:80", ipvs.NAT, 1)
			ds[j].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), byte(dests - j)}), 80)
		}
		m.add(ipvs.ServiceInfo{Service: svc(k, "wlc", 0)}, ds...)
	}
	return m
}

// A listing costs memory by the service, never by the row.
func TestListAllocs(t *testing.T) {
	m := large(1000, 10)
	allocs := func(run func() error) float64 {
		return testing.AllocsPerRun(3, func() {
			if err := run(); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name, got := range map[string]float64{
		"-Ln":         allocs(func() error { return List(io.Discard, m, ListOptions{}) }),
		"-Ln --stats": allocs(func() error { return List(io.Discard, m, ListOptions{View: ViewStats}) }),
		"-Ln --json":  allocs(func() error { return List(io.Discard, m, ListOptions{JSON: true}) }),
		"-Sn":         allocs(func() error { return Save(io.Discard, m, SaveOptions{}) }),
	} {
		if got > 100 {
			t.Errorf("%s of 1000 services with 10 destinations each: %v allocations", name, got)
		}
	}
}

func BenchmarkList(b *testing.B) {
	m := large(1000, 10)
	for name, list := range map[string]func() error{
		"default": func() error { return List(io.Discard, m, ListOptions{}) },
		"json":    func() error { return List(io.Discard, m, ListOptions{JSON: true}) },
		"save":    func() error { return Save(io.Discard, m, SaveOptions{}) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := list(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Every document is valid, whole, and the same numbers that went in.
func TestListJSONValid(t *testing.T) {
	var doc struct {
		Version     string `json:"ipvs_version"`
		ConnTabSize int    `json:"conn_tab_size"`
		Services    []struct {
			Stats        map[string]uint64
			Destinations []struct{ Address string }
		}
	}
	const services, dests = 300, 10 // larger than the buffer
	var b bytes.Buffer
	if err := List(&b, large(services, dests), ListOptions{JSON: true}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range doc.Services {
		n += len(s.Destinations)
	}
	if len(doc.Services) != services || n != services*dests {
		t.Errorf("%d services, %d destinations", len(doc.Services), n)
	}
	b.Reset()
	if err := List(&b, strange(), ListOptions{JSON: true}); err != nil {
		t.Fatal(err)
	}
	doc.Services = nil
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Version != "1.2.1" || doc.ConnTabSize != 4096 || !slices.ContainsFunc(doc.Services, func(s struct {
		Stats        map[string]uint64
		Destinations []struct{ Address string }
	}) bool {
		return s.Stats["out_bytes"] == 1<<64-1
	}) {
		t.Errorf("%+v", doc)
	}
	b.Reset()
	if err := List(&b, new(memory), ListOptions{JSON: true}); err != nil || !json.Valid(b.Bytes()) {
		t.Errorf("empty table: %q, %v", b.String(), err)
	}
}

func TestListStateGolden(t *testing.T) {
	timeouts := ipvs.Timeouts{TCP: 900 * time.Second, TCPFin: 2 * time.Minute, UDP: 2678400 * time.Second}
	daemons := []ipvs.Daemon{
		{State: ipvs.Master, Interface: "eth0", MaxLen: 1472, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1},
		{State: ipvs.Backup, Interface: "eth1", SyncID: 255, MaxLen: 65507, Group: netip.MustParseAddr("ff05::81"), Port: 8848, TTL: 255},
		{State: ipvs.Backup, Interface: `e"th`},
	}
	var b bytes.Buffer
	for _, asJSON := range []bool{false, true} {
		err := errors.Join(ListTimeouts(&b, timeouts, asJSON), ListDaemons(&b, daemons, asJSON), ListDaemons(&b, nil, asJSON))
		if err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "state", b.Bytes())
}

func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "rr", `a"b\c`, "\x00\x1f\x7f", "\xff\xc3\x28", "ä€😀", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		quoted := appendQuoted(nil, s)
		if err := json.Unmarshal(quoted, &got); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); !strings.ContainsRune(s, 0xfffd) && strings.ReplaceAll(got, "\ufffd", "") != strings.ReplaceAll(want, "\ufffd", "") {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// TestLocalsInNumbers: -G prints ports that have a name as numbers, as the forks do.
func TestLocalsInNumbers(t *testing.T) {
	s := ipvs.ServiceInfo{Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.10:80"))},
		Locals: []ipvs.LocalInfo{{Addr: netip.MustParseAddr("198.51.100.1"), Conns: 7, Conflicts: 3}}}
	var out bytes.Buffer
	if err := printLocals(&out, []ipvs.ServiceInfo{s}); err != nil {
		t.Fatal(err)
	}
	const want = "VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS     \n" +
		"192.0.2.10:80        1       \n" +
		"                              198.51.100.1         3          7         \n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
