package director

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestPersistentJSON(t *testing.T) {
	web, mark := testService().Key(), ipvs.MarkService(7, ipvs.IPv6)
	want := Persistent{
		Overrides: map[ServerID]*Override{
			{web, addr(1)}:  {Kind: Maintain, Reason: "disk", By: "root", Name: "rs1", Since: t0, Until: t0.Add(time.Hour)},
			{mark, addr(2)}: {Kind: SetWeight, Weight: 5, Since: t0},
		},
		Owned:   map[ipvs.ServiceKey]bool{web: true, mark: true},
		Gone:    map[ipvs.ServiceKey]bool{mark: true},
		Leaving: map[ServerID]Leave{{web, addr(3)}: {t0, t0.Add(time.Minute)}, {mark, addr(3)}: {Since: t0}},
		Hold:    MassFailure{t0, []ServerID{{web, addr(1)}, {mark, addr(2)}}},
		Files:   map[string]bool{"10.0.0.1": true, "rs2:80": true},
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Persistent
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}, ipvs.ServiceKey{})); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, b)
	}
	for _, bad := range []string{`{"overrides":[{"service":{"protocol":"tcp","address":"192.0.2.1:80"},"server":"10.0.0.1:80","kind":"kill"}]}`,
		`{"overrides":[{"service":{},"server":"10.0.0.1:80","kind":"drain"}]}`, `{"owned":[{}]}`, `{"owned":{}}`,
		`{"leaving":[{"service":{},"server":"10.0.0.1:80"}]}`, `{"mass_failure":{"servers":[{"service":{}}]}}`, `{"leaving":[{"service":{"protocol":"tcp","address":"192.0.2.1:80"}}]}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s: want an error", bad)
		}
	}
}
