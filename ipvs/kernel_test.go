package ipvs_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// dial gives a client on an empty table.
func dial(t testing.TB) *ipvs.Client {
	t.Helper()
	lab.Need(t)
	c, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return c
}

var web = ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80"))

func TestKernelAddList(t *testing.T) {
	c := dial(t)
	s := ipvs.Service{ServiceKey: web, Scheduler: "wlc"}
	d := ipvs.Destination{Addr: netip.MustParseAddrPort("10.0.0.1:8080"), Weight: 70000}
	err := c.Apply(slices.Values([]ipvs.Change{
		{Op: ipvs.AddService, Service: s},
		{Op: ipvs.AddDestination, Service: s, Destination: d},
	}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Services()
	if diff := cmp.Diff([]ipvs.ServiceInfo{{Service: s}}, got, cmpopts.EquateComparable(netip.AddrPort{}, ipvs.Netmask{})); diff != "" || err != nil {
		t.Errorf("services: %v\n%s", err, diff)
	}
	dests, err := c.Destinations(web, nil)
	if diff := cmp.Diff([]ipvs.DestinationInfo{{Destination: d}}, dests, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || err != nil {
		t.Errorf("destinations: %v\n%s", err, diff)
	}
}
