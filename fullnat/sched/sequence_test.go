package sched

import (
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
)

// Worked out by hand from the algorithms; the kernel tests of ipvs/schedulers
// have the same sequences. All connections stay open.
func TestSequences(t *testing.T) {
	for _, tc := range []struct {
		name, scheduler string
		weights         []int32
		want            string
	}{
		{"rr", "rr", []int32{1, 1, 1}, "C B A C B A"},
		{"rr knows weight 0 only", "rr", []int32{7, 0, 1}, "C A C A"},
		{"rr alone", "rr", []int32{1}, "A A A"},
		{"wrr begins with the lowest round", "wrr", []int32{4, 3, 2}, "C B A A B A C B A C B A A B A C B A"},
		{"wrr with a common divisor", "wrr", []int32{10, 5}, "B A A B A A"},
		{"wrr with equal servers", "wrr", []int32{4, 2, 2}, "C B A A C B A A"},
		{"wrr without weights", "wrr", []int32{0, 0}, "- -"},
		{"lc", "lc", []int32{1, 1, 1}, "C B A C B A C"},
		{"wlc", "wlc", []int32{1, 2, 4}, "C B A C C B C C B A C C B C"},
		{"sed", "sed", []int32{1, 2, 4}, "C C B C C B A C C B C C B A"},
		{"nq", "nq", []int32{1, 2, 4}, "C B A C C C B C C B C C B A"},
		{"fo", "fo", []int32{1, 5, 5}, "C C C C"},
		{"ovf takes one more than the weight", "ovf", []int32{3, 5, 2}, "B B B B B B A A A A C C C -"},
		{"lblc", "lblc", []int32{2, 2, 4}, "C C C C C B B B A A A A A A"},
		{"lblcr", "lblcr", []int32{2, 2, 4}, "C C C C C B B B A A A C A B"},
		{"dh has one server for an address", "dh", []int32{1, 1, 1}, "C C C"}, // bucket 162
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, ipvs.Service{Scheduler: tc.scheduler}, tc.weights...)
			b.want("choices", tc.want, b.opens(len(tc.want)/2+1))
		})
	}
	for _, name := range Names() {
		b := newBench(t, ipvs.Service{Scheduler: name})
		b.want(name+" without servers", "- -", b.opens(2))
	}
}

func TestChangesOfServers(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "rr"}, 1, 1, 1)
	b.want("rr", "C B", b.opens(2))
	b.must(b.DeleteServer(0, serverAddr(1)))
	b.want("rr, server deleted", "A C A C", b.opens(4))
	b.must(b.AddServer(0, server(3, 1)))
	b.want("rr, server added", "A D C A", b.opens(4))

	b = newBench(t, ipvs.Service{Scheduler: "rr"}, 4, 3, 2)
	b.must(b.Update(0, ipvs.Service{Scheduler: "wrr"}))
	b.want("wrr from the top", "A B A C B A C B A A B A", b.opens(12))
	b.want("the key stays", webKey.String(), b.Config().ServiceKey.String())
}

// The table of addresses in the specification of the hashes.
func TestHashes(t *testing.T) {
	for _, tc := range []struct {
		addr                         string
		fold, sh, shPort, mh, mhPort uint32
	}{
		{"192.0.2.1", 0xc0000201, 50, 214, 2891, 3651},
		{"192.168.1.10", 0xc0a8010a, 248, 156, 3323, 1622},
		{"2001:db8::1", 0x20010db9, 63, 226, 3457, 3517},
		{"2001:db8:1:2:3:4:5:6", 0x20060db8, 124, 32, 735, 3591},
	} {
		a := netip.MustParseAddr(tc.addr)
		f := ipvs.IPv4
		if a.Is6() {
			f = ipvs.IPv6
		}
		x := fold(f, a)
		got := [5]uint32{x, mul(x, shBits), mul(x+40000, shBits), sip(x, mhKey1) % mhSize, sip(x+40000, mhKey1) % mhSize}
		if want := [5]uint32{tc.fold, tc.sh, tc.shPort, tc.mh, tc.mhPort}; want != got {
			t.Errorf("%s: got %v, want %v", tc.addr, got, want)
		}
	}
	for x, want := range map[uint32][2]uint32{
		0: {0x1d5a77c2, 0xf882433f}, 1: {0x16ec66b2, 0x8210aad1}, 0xffffffff: {0x22c5d719, 0xf75a0f5d},
	} {
		if got := [2]uint32{sip(x, mhKey1), sip(x, mhKey2)}; want != got {
			t.Errorf("sip(%#x): got %#x, want %#x", x, got, want)
		}
	}
	if got := fold(ipvs.IPv4, netip.MustParseAddr("2001:db8::1")); got != 0x20010db8 {
		t.Errorf("IPv6 server of an IPv4 service: got %#x", got)
	}
	if got := fold(ipvs.IPv6, netip.Addr{}); got != 0 {
		t.Errorf("no address: got %#x", got)
	}
}

// slots are the first n of mh's table, as letters.
func slots(b *bench, n int) (text string) {
	h := b.scheduler.(*mh)
	h.assign()
	for _, d := range h.table[:n] {
		text += letter(d)
	}
	return text
}

func TestMHTable(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "mh"}, 1, 2, 1)
	b.want("slots", "ABBBCABCCAABBBAC", slots(b, 16))
	b.must(b.UpdateServer(0, server(2, 0)))
	b.want("slots when C has weight 0", "ABBBCABCCAABBBAC", slots(b, 16))
	count := map[string]int{}
	for _, d := range b.scheduler.(*mh).table {
		count[letter(d)]++
	}
	b.equal("slots each", map[string]int{"A": 1023, "B": 2046, "C": 1024}, count)

	b = newBench(t, ipvs.Service{Scheduler: "mh"}, 300, 65535, 1)
	if h := b.scheduler.(*mh); !h.prepare() || h.walks[2].turns != 1 || h.walks[1].turns != 63 || h.walks[0].turns != 1 {
		t.Errorf("turns: %v", h.walks)
	}
}

func TestMHTakesNoMore(t *testing.T) {
	b := newBench(t, ipvs.Service{Scheduler: "rr"})
	for i := range mhSize + 1 {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		b.must(b.AddServer(0, ipvs.Destination{Addr: netip.AddrPortFrom(a, 80), Weight: 1}))
	}
	if err := b.Update(0, ipvs.Service{Scheduler: "mh"}); !is(ipvs.ErrInvalid)(err) {
		t.Errorf("switch to mh: %v", err)
	}
	b.want("scheduler", "rr", b.Config().Scheduler)
	b.must(b.DeleteServer(0, netip.MustParseAddrPort("10.1.0.0:80")))
	b.must(b.Update(0, ipvs.Service{Scheduler: "mh"}))
	if err := b.AddServer(0, server(0, 1)); !is(ipvs.ErrInvalid)(err) {
		t.Errorf("one more: %v", err)
	}
}
