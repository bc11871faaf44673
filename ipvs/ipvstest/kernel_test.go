package ipvstest

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var _ ipvs.Kernel = (*Kernel)(nil)

var (
	web  = ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80"))
	real = netip.MustParseAddrPort("10.0.0.1:80")
)

func addWeb() ipvs.Change {
	return ipvs.Change{Op: ipvs.AddService, Service: ipvs.Service{ServiceKey: web, Scheduler: "wlc"}}
}

func addReal(addr string) ipvs.Change {
	return ipvs.Change{Op: ipvs.AddDestination, Service: ipvs.Service{ServiceKey: web},
		Destination: ipvs.Destination{Addr: netip.MustParseAddrPort(addr), Weight: 1}}
}

// withWeb is a kernel with a service and one destination.
func withWeb(t testing.TB, reals ...string) *Kernel {
	t.Helper()
	k := New(Options{})
	do(t, k, addWeb())
	for _, r := range reals {
		do(t, k, addReal(r))
	}
	return k
}

func do(t testing.TB, k *Kernel, c ipvs.Change) {
	t.Helper()
	if err := k.Do(c); err != nil {
		t.Fatal(err)
	}
}

func TestStringIsSorted(t *testing.T) {
	k := withWeb(t, "10.0.0.2:80", "10.0.0.3:80", "10.0.0.1:80")
	want := `tcp 192.0.2.1:80 wlc
  10.0.0.1:80 nat weight 1
  10.0.0.2:80 nat weight 1
  10.0.0.3:80 nat weight 1
`
	if diff := cmp.Diff(want, k.String()); diff != "" {
		t.Error(diff)
	}
}

func TestOtherSharesTheTableAndNoFaults(t *testing.T) {
	k := withWeb(t)
	k.Inject(Fault{Err: unix.EPERM, Times: -1})
	if err := k.Other().Flush(); err != nil {
		t.Errorf("the other process: %v", err)
	}
	if err := k.Flush(); !errors.Is(err, ipvs.ErrPermission) {
		t.Errorf("k: %v, want ErrPermission", err)
	}
	if k.String() != "" {
		t.Errorf("the table was not flushed: %s", k)
	}
}

func TestConcurrentUse(t *testing.T) {
	k := withWeb(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			mine := k
			if w%2 == 1 {
				mine = k.Other()
			}
			for i := range 50 {
				d := ipvs.Destination{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(w), byte(i)}), 80)}
				if err := mine.Do(addTo(tcp("192.0.2.1:80"), d)); err != nil {
					t.Error(err)
				}
				if _, err := ipvs.Read(mine); err != nil {
					t.Error(err)
				}
				mine.OnCall(func(Call) { _ = k.Other().String() })
				mine.Inject(Fault{Op: "flush", Err: unix.EPERM})
				if i%2 == 1 {
					if err := mine.Do(removeFrom(tcp("192.0.2.1:80"), d)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := strings.Count(k.String(), "\n"); got != 1+8*25 {
		t.Errorf("%d lines, want a service and 200 destinations", got)
	}
}
