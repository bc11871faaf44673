package ipvstest

import (
	"errors"
	"net/netip"
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

func TestKernelPrintsItselfSorted(t *testing.T) {
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
