package traffic_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
	"github.com/google/go-cmp/cmp"
)

// balancer is a network with a client of the director's IPVS. One per test: see
// the package comment.
type balancer struct {
	*topo.Net
	ipvs *ipvs.Client
	port uint16              // the last client port used
	past uint16              // the last one of cases that are done
	name map[topo.MAC]string // of the host that an interface belongs to
}

const firstPort = 20000

func newBalancer(t *testing.T, spec topo.Spec, m topo.Method) *balancer {
	t.Helper()
	b := &balancer{Net: topotest.New(t, spec), port: firstPort, past: firstPort, name: map[topo.MAC]string{}}
	must(t, b.Prepare(m))
	must(t, b.Director.Do(func() (err error) {
		b.ipvs, err = ipvs.Dial(ipvs.Options{})
		return err
	}))
	t.Cleanup(func() { b.ipvs.Close() })
	for _, h := range b.Hosts() {
		must(t, h.Do(func() error { return b.learn(h.Name) }))
	}
	return b
}

// learn is called on a host.
func (b *balancer) learn(name string) error {
	links, err := net.Interfaces()
	if name == "switch" { // only passes frames on
		return err
	}
	for _, l := range links {
		if len(l.HardwareAddr) == 6 {
			b.name[topo.MAC(l.HardwareAddr)] = name
		}
	}
	return err
}

// from is an address of the client with a port that was never used before; the
// zero Addr is the client's own.
func (b *balancer) from(a netip.Addr) netip.AddrPort {
	b.port++
	return netip.AddrPortFrom(a, b.port)
}

// vip is the virtual address of a client's family.
func (b *balancer) vip(client netip.Addr) netip.Addr {
	if client.Is6() {
		return b.VIP6
	}
	return b.VIP4
}

// add makes a service with destinations. The kernel puts each new destination
// first, and so rr begins with the last.
func (b *balancer) add(t *testing.T, s ipvs.Service, dests ...ipvs.Destination) {
	t.Helper()
	changes := []ipvs.Change{{Op: ipvs.AddService, Service: s}}
	for _, d := range dests {
		changes = append(changes, ipvs.Change{Op: ipvs.AddDestination, Service: s, Destination: d})
	}
	must(t, b.ipvs.Apply(slices.Values(changes)))
}

// do changes a destination of a service.
func (b *balancer) do(t *testing.T, op ipvs.Op, s ipvs.Service, d ipvs.Destination) {
	t.Helper()
	must(t, b.ipvs.Do(ipvs.Change{Op: op, Service: s, Destination: d}))
}

// serve has all real servers serve until the test ends.
func (b *balancer) serve(t *testing.T, network string, port uint16) {
	t.Helper()
	for _, h := range b.Servers {
		s, err := h.Serve(network, port)
		must(t, err)
		t.Cleanup(func() { s.Close() })
	}
}

// connections are the director's entries that keep wants, by client, without the
// time that they have left. One may be missing when others end meanwhile.
func (b *balancer) connections(t *testing.T, keep func(procfs.Connection) bool) (list []procfs.Connection) {
	t.Helper()
	must(t, b.Director.Do(func() error {
		f, err := procfs.Open("", procfs.ConnectionFile)
		if err != nil {
			return err
		}
		defer f.Close()
		for c, err := range procfs.Connections(f) {
			if err != nil {
				return err
			}
			if c.Expires = 0; keep(c) {
				list = append(list, c)
			}
		}
		return nil
	}))
	slices.SortFunc(list, func(a, b procfs.Connection) int {
		return strings.Compare(a.Client.String()+a.Virtual.String(), b.Client.String()+b.Virtual.String())
	})
	return list
}

// destination is what the kernel tells of a destination now.
func (b *balancer) destination(t *testing.T, s ipvs.Service, addr netip.AddrPort) ipvs.DestinationInfo {
	t.Helper()
	list, err := b.ipvs.Destinations(s.ServiceKey, nil)
	must(t, err)
	i := slices.IndexFunc(list, func(d ipvs.DestinationInfo) bool { return d.Addr == addr })
	if i < 0 {
		t.Fatalf("%s has no destination %s: %v", s.ServiceKey, addr, list)
	}
	return list[i]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal compares values, which may have addresses in them.
func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := compare(want, got); d != "" {
		t.Errorf("%s: -want +got\n%s", what, d)
	}
}

func compare(want, got any) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }))
}

// soon waits until get returns what is wanted: for what the kernel does by its
// own clock and tells nobody.
func soon[T any](t *testing.T, what string, want T, get func() T) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		d := compare(want, get())
		if d == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: -want +got\n%s", what, d)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
