package sched

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// loaded is a service of a scheduler with n servers of various weights.
func loaded(t testing.TB, scheduler string, flags ipvs.Flags, n int) *Service {
	c := marked(scheduler)
	c.Flags, c.Timeout = flags, time.Minute
	s, err := New(0, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		d := ipvs.Destination{Addr: netip.AddrPortFrom(a, 80), Weight: int32(1 + i%100)}
		if err := s.AddServer(0, d); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// turn is one connection in a service that holds many: the oldest one ends.
func turn(s *Service, conns []Conn, i int) bool {
	c := &conns[i%len(conns)]
	s.End(0, c)
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), uint16(i))
	choice, ok := s.Choose(0, from, virtual(i&7))
	if ok {
		s.Bind(0, c, choice, ipvs.TCP)
		s.SetState(c, Established)
	}
	return ok
}

// BenchmarkChoose is a choice with its binding, state change and end.
func BenchmarkChoose(b *testing.B) {
	for _, name := range Names() {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/servers=%d", name, n), func(b *testing.B) {
				s, conns, i := loaded(b, name, 0, n), make([]Conn, 10000), 0
				b.ReportAllocs()
				for b.Loop() {
					turn(s, conns, i)
					i++
				}
			})
		}
	}
}

// BenchmarkWRRFull is the case in which the kernel goes through 65,535 rounds:
// the only server of the highest weight is full, or all are.
func BenchmarkWRRFull(b *testing.B) {
	for _, tc := range []struct {
		name string
		full int // how many of the ten servers are
	}{{"one", 1}, {"all", 10}} {
		b.Run(tc.name, func(b *testing.B) {
			s := loaded(b, "wrr", 0, 10)
			if err := s.UpdateServer(0, ipvs.Destination{Addr: s.list[0].config.Addr, Weight: 65535}); err != nil {
				b.Fatal(err)
			}
			for _, d := range s.list[:tc.full] {
				d.overloaded = true
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Choose(0, client, web)
			}
		})
	}
}

// BenchmarkFallback is a client whose server is out, and one of a service where
// all are.
func BenchmarkFallback(b *testing.B) {
	for _, name := range []string{"sh", "mh"} {
		for _, out := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/out=%d", name, out), func(b *testing.B) {
				s := loaded(b, name, ipvs.Sched1, 10)
				first, _ := s.Choose(0, client, web)
				for _, d := range s.list {
					d.overloaded = out == 10 || d == first.Server
				}
				b.ReportAllocs()
				for b.Loop() {
					s.Choose(0, client, web)
				}
			})
		}
	}
}

// BenchmarkPersistent is a client that has a template, among 10,000.
func BenchmarkPersistent(b *testing.B) {
	s, conns, i := loaded(b, "wlc", ipvs.Persistent, 10), make([]Conn, 10000), 0
	b.ReportAllocs()
	for b.Loop() {
		turn(s, conns, i%65536)
		i++
	}
}

func TestNoAllocations(t *testing.T) {
	for _, name := range Names() {
		for _, flags := range []ipvs.Flags{0, ipvs.Sched1 | ipvs.Sched2, ipvs.Persistent} {
			s, conns := loaded(t, name, flags, 10), make([]Conn, 100)
			for i := range 300 { // so that clients and addresses are known
				turn(s, conns, i)
			}
			i := 0
			if n := testing.AllocsPerRun(200, func() { turn(s, conns, i); i++ }); n != 0 {
				t.Errorf("%s with flags %#x: %v allocations", name, uint32(flags), n)
			}
		}
	}
}
