package daemon

import (
	"errors"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

type closing struct{ *ipvstest.Kernel }

func (closing) Close() error { return nil }

// TestOptionalReadsOne: where the machine may have no IPVS, a change of one
// service reads that service and does not list all, as it does elsewhere.
func TestOptionalReadsOne(t *testing.T) {
	k := ipvstest.New(ipvstest.Options{})
	o, err := newOptional(func() (closer, error) { return closing{k}, nil }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	listings := 0
	k.OnCall(func(c ipvstest.Call) {
		if c.Op == "list services" {
			listings++
		}
	})
	s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80")), Scheduler: "wlc"}
	want := ipvs.Table{{Service: s, Destinations: []ipvs.Destination{{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1}}}}
	if r, err := ipvs.Reconcile(o, want, ipvs.ReconcileOptions{KeepOthers: true, Singly: true}); err != nil || len(r.Made) != 2 {
		t.Errorf("%v, %v", r.Made, err)
	}
	if listings != 0 {
		t.Errorf("all services were listed %d times for the sake of one", listings)
	}
	if _, err := o.Services(); err != nil || listings != 1 {
		t.Errorf("a listing is %d listings, %v", listings, err)
	}
	if _, err := (nothing{}).Service(s.ServiceKey); !errors.Is(err, ipvs.ErrNoService) {
		t.Errorf("without IPVS: %v", err)
	}
}
