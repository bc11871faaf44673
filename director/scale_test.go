package director

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// bigSetup has so many servers, ten to a service.
func bigSetup(servers int) *Setup {
	setup := &Setup{Settings: settings()}
	for i := range servers / 10 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 80)
		v := VirtualService{Name: fmt.Sprint("v", i), Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, a), Scheduler: "wlc"}, Quiescent: true}
		for j := range 10 {
			v.Servers = append(v.Servers, RealServer{Destination: ipvs.Destination{Weight: 1,
				Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(j + 1)}), 80)}})
		}
		setup.Services = append(setup.Services, v)
	}
	return setup
}

// big is a Director's state with so many servers, all up.
func big(b testing.TB, servers int) *state {
	setup := bigSetup(servers)
	d := New(Options{Kernel: ipvstest.New(ipvstest.Options{}), Log: slog.New(slog.DiscardHandler)})
	s := newState(d, setup)
	if err := s.start(); err != nil {
		b.Fatal(err)
	}
	s.observe(verdicts(setup, Up))
	s.settle()
	return s
}

func verdicts(setup *Setup, h Health) (out []Result) {
	for i := range setup.Services {
		for _, r := range setup.Services[i].Servers {
			out = append(out, Result{Server: ServerID{setup.Services[i].Key(), r.Addr}, Health: h})
		}
	}
	return out
}

// BenchmarkTick is a quiet second: the kernel is read, everything decided anew,
// nothing to do. The kernel in memory costs more than the real one.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := big(b, n)
			b.ReportAllocs()
			for b.Loop() {
				s.tick(nil)
			}
		})
	}
}

// BenchmarkVerdict is what one server's death costs, from the verdict to the
// kernel's answer.
func BenchmarkVerdict(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := big(b, n)
			one := verdicts(s.setup, Down)[:1]
			b.ReportAllocs()
			for b.Loop() {
				one[0].Health = Down + Up - one[0].Health
				s.observe(one)
				s.settle()
			}
		})
	}
}
