package ipvsadm

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// churned is a kernel with services, whose first listings are spoilt as they
// are while somebody else deletes services.
func churned(t *testing.T, services int, spoilt ...ipvstest.Fault) *ipvstest.Kernel {
	t.Helper()
	k := ipvstest.New(ipvstest.Options{})
	for i := range services {
		key := ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i+1)))
		if err := k.Do(ipvs.Change{Op: ipvs.AddService, Service: svc(key, "rr", 0)}); err != nil {
			t.Fatal(err)
		}
	}
	k.Inject(spoilt...)
	return k
}

func TestSaveMissesNothing(t *testing.T) {
	spoil := func(after int, show func(int) []int) ipvstest.Fault {
		return ipvstest.Fault{Op: "list services", After: after, Show: show}
	}
	for name, spoilt := range map[string][]ipvstest.Fault{
		"no listing is spoilt":       nil,
		"the first":                  {spoil(0, ipvstest.Skip(3, 4, 5))},
		"the second":                 {spoil(1, ipvstest.Skip(0))},
		"the first two, differently": {spoil(0, ipvstest.Skip(3, 4, 5)), spoil(0, ipvstest.Skip(8, 9))},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Save(&b, churned(t, 10, spoilt...), SaveOptions{}); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(b.String(), "-A "); n != 10 {
				t.Errorf("%d of 10 services saved:\n%s", n, b.String())
			}
		})
	}
}

func TestSaveListingFails(t *testing.T) {
	for after := range 2 {
		var b bytes.Buffer
		k := churned(t, 10, ipvstest.Fault{Op: "list services", After: after, Err: ipvs.ErrTimeout})
		if err := Save(&b, k, SaveOptions{}); !errors.Is(err, ipvs.ErrTimeout) || b.Len() > 0 {
			t.Errorf("listing %d: %v, %q", after+1, err, b.String())
		}
	}
}

// A service with more servers than one part of a listing holds is listed until
// nothing is new.
func TestSaveMissesNoServer(t *testing.T) {
	const n = 100
	k := churned(t, 1)
	key := ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("10.0.0.1:1"))
	for i := range n {
		d := ipvs.Destination{Addr: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(i+1)), Weight: 1}
		if err := k.Do(ipvs.Change{Op: ipvs.AddDestination, Service: svc(key, "rr", 0), Destination: d}); err != nil {
			t.Fatal(err)
		}
	}
	k.Inject(ipvstest.Fault{Op: "list destinations", Show: ipvstest.Skip(90, 91, 92)})
	var b bytes.Buffer
	if err := Save(&b, k, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.String(), "-a "); got != n {
		t.Errorf("%d of %d servers saved", got, n)
	}
}
