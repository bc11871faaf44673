package config_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

const hosts = `
[[virtual]]
address = "192.0.2.10:80"
forward = "nat"
fallback = ["sorry.example.com:8080"]
real = [{ address = "A.example.com" }, { address = "b.example.com" }, { address = "10.0.0.1" }, { address = "c.example.com" }]
[[virtual]]
address = "[2001:db8::10]:80"
forward = "tun"
real = [{ address = "a.example.com" }]
[[virtual]]
address = "[2001:db8::11]:80"
real = [{ address = "a.example.com" }]
`

// Names are told, each with the family that it needs; bound they have addresses.
func TestBind(t *testing.T) {
	c := parse(t, hosts)
	want := []config.Host{
		{Name: "a.example.com"}, {Name: "a.example.com", Family: ipvs.IPv4}, {Name: "a.example.com", Family: ipvs.IPv6},
		{Name: "b.example.com", Family: ipvs.IPv4}, {Name: "c.example.com", Family: ipvs.IPv4}, {Name: "sorry.example.com", Family: ipvs.IPv4},
	}
	if diff := cmp.Diff(want, c.Hosts()); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	known := map[config.Host]string{
		{Name: "a.example.com"}: "10.0.0.2", {Name: "a.example.com", Family: ipvs.IPv4}: "10.0.0.2", {Name: "a.example.com", Family: ipvs.IPv6}: "2001:db8::2",
		{Name: "b.example.com", Family: ipvs.IPv4}: "10.0.0.1", {Name: "sorry.example.com", Family: ipvs.IPv4}: "10.0.0.9",
	}
	bound, told := c.Bind(func(h config.Host) (netip.Addr, bool) {
		a, err := netip.ParseAddr(known[h])
		return a, err == nil
	})
	var got []string
	for _, v := range bound.Virtuals {
		for _, s := range append(v.Reals, v.Fallback...) {
			got = append(got, s.Target()+" "+s.Destination().String())
		}
	}
	if diff := cmp.Diff([]string{
		"a.example.com:80 10.0.0.2:80 nat weight 1", "10.0.0.1:80 10.0.0.1:80 nat weight 1", "sorry.example.com:8080 10.0.0.9:8080 nat weight 1",
		"a.example.com:80 10.0.0.2:80 tun weight 1", "a.example.com:80 [2001:db8::2]:80 dr weight 1",
	}, got); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	var problems []string
	for _, p := range told {
		problems = append(problems, p.String())
	}
	if diff := cmp.Diff([]string{
		"test.toml:6: 192.0.2.10:80: b.example.com:80: another server of the service has the address 10.0.0.1:80",
		"test.toml:6: 192.0.2.10:80: c.example.com:80: the name has no address yet",
	}, problems); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if c.Virtuals[0].Reals[0].Addr.IsValid() {
		t.Error("the configuration itself was changed")
	}
}
