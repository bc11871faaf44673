package ipvstest

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// addrs lets cmp compare what netip keeps to itself.
var addrs = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, ipvs.Netmask{}), cmpopts.EquateEmpty()}

func isSame(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// readCases: what is listed, and what is not there.
func readCases() []operationCase {
	web, fwm := tcp("192.0.2.1:80", sched("rr")), mark(7, ipvs.IPv6)
	return []operationCase{
		{name: "nothing", do: func(t *testing.T, c Client) error {
			services, err := c.Services()
			isSame(t, []ipvs.ServiceInfo(nil), services)
			return err
		}},
		{name: "a service", setup: these(add(web), add(fwm)), table: "tcp 192.0.2.1:80 rr\nfwmark 7 ipv6 wlc\n", do: func(t *testing.T, c Client) error {
			got, err := c.Service(web.ServiceKey)
			isSame(t, ipvs.ServiceInfo{Service: web}, got)
			return err
		}},
		{name: "a mark", setup: these(add(mark(7, ipvs.IPv4)), add(fwm)), table: "fwmark 7 wlc\nfwmark 7 ipv6 wlc\n", do: func(t *testing.T, c Client) error {
			got, err := c.Service(fwm.ServiceKey)
			isSame(t, ipvs.ServiceInfo{Service: fwm}, got)
			return err
		}},
		{name: "a missing service", setup: these(add(fwm)), table: "fwmark 7 ipv6 wlc\n", do: func(t *testing.T, c Client) error {
			got, err := c.Service(web.ServiceKey)
			isSame(t, ipvs.ServiceInfo{}, got)
			return err
		}, want: ipvs.ErrNoService, op: opService, object: "tcp 192.0.2.1:80"},
		{name: "a service without an address", do: func(t *testing.T, c Client) error {
			_, err := c.Service(ipvs.ServiceKey{Protocol: ipvs.TCP})
			return err
		}, want: ipvs.ErrInvalid, op: opService, object: ipvs.ServiceKey{Protocol: ipvs.TCP}.String()},
		{name: "a mark without a family", do: func(t *testing.T, c Client) error {
			_, err := c.Service(ipvs.MarkService(7, 0))
			return err
		}, want: ipvs.ErrFamily, op: opService, object: "fwmark 7 0"},

		{name: "destinations", setup: these(add(web), addTo(web, rs("10.0.0.1:80")), addTo(web, rs("10.0.0.2:81", weight(5), limits(3, 2), by(ipvs.DirectRoute)))),
			table: "tcp 192.0.2.1:80 rr\n  10.0.0.2:81 dr weight 5 thresholds 3 2\n  10.0.0.1:80 nat weight 1\n",
			do: func(t *testing.T, c Client) error {
				got, err := c.Destinations(web.ServiceKey, nil)
				isSame(t, []ipvs.DestinationInfo{
					{Destination: rs("10.0.0.2:81", weight(5), limits(3, 2), by(ipvs.DirectRoute))},
					{Destination: rs("10.0.0.1:80")}}, got)
				return err
			}},
		{name: "destinations after others", setup: these(add(web), addTo(web, rs("10.0.0.1:80"))), table: "tcp 192.0.2.1:80 rr\n  10.0.0.1:80 nat weight 1\n",
			do: func(t *testing.T, c Client) error {
				before := ipvs.DestinationInfo{Destination: rs("10.0.0.1:80", weight(9)), Active: 3}
				got, err := c.Destinations(web.ServiceKey, []ipvs.DestinationInfo{before})
				isSame(t, []ipvs.DestinationInfo{before, {Destination: rs("10.0.0.1:80")}}, got)
				return err
			}},
		{name: "no destinations", setup: these(add(web)), table: "tcp 192.0.2.1:80 rr\n", do: func(t *testing.T, c Client) error {
			got, err := c.Destinations(web.ServiceKey, nil)
			isSame(t, []ipvs.DestinationInfo(nil), got)
			return err
		}},
		{name: "destinations of a missing service", do: func(t *testing.T, c Client) error {
			before := []ipvs.DestinationInfo{{Destination: rs("10.0.0.1:80")}}
			got, err := c.Destinations(web.ServiceKey, before)
			isSame(t, before, got)
			return err
		}, want: ipvs.ErrNoService, op: opDestinations, object: "tcp 192.0.2.1:80"},

		{name: "info", do: func(t *testing.T, c Client) error {
			info, err := c.Info()
			if v := (ipvs.Version{Major: 1, Minor: 2, Patch: 1}); info.Version != v {
				t.Errorf("version %v, want %v", info.Version, v)
			}
			if n := info.ConnTabSize; n < 256 || n&(n-1) != 0 {
				t.Errorf("a connection table of %d buckets: not a power of two from 256 on", n)
			}
			return err
		}},
		{name: "a large table", do: func(t *testing.T, c Client) error {
			const services, each = 300, 3
			err := c.Apply(changes(services*(each+1), func(i int) ipvs.Change {
				s := at(i / (each + 1))
				if i%(each+1) == 0 {
					return add(s)
				}
				return addTo(s, rs("10.0.0.1:80", port(i%(each+1))))
			}))
			if err != nil {
				return err
			}
			list, err := c.Services()
			slices.SortFunc(list, func(a, b ipvs.ServiceInfo) int { return a.Compare(b.ServiceKey) })
			if len(list) != services {
				t.Errorf("%d services listed, want %d", len(list), services)
			}
			for i, s := range list {
				if want := at(i).ServiceKey; s.ServiceKey != want {
					t.Fatalf("service %d is %s, want %s", i, s.ServiceKey, want)
				}
			}
			if err := c.Flush(); err != nil {
				return err
			}
			return err
		}},
		{name: "flush", setup: these(add(web), add(fwm), addTo(web, rs("10.0.0.1:80"))), do: func(t *testing.T, c Client) error { return c.Flush() }},
		{name: "flush nothing", do: func(t *testing.T, c Client) error { return c.Flush() }},
	}
}

// at is the i-th of many services, in the order of their keys.
func at(i int) ipvs.Service {
	a := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
	return ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(a, 80)), Scheduler: "rr"}
}

func port(p int) destinationOption {
	return func(d *ipvs.Destination) { d.Addr = netip.AddrPortFrom(d.Addr.Addr(), uint16(p)) }
}
