package schedulers

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/ipvs"
)

// network is a director with real servers by NAT. Every service in it gets a
// virtual port of its own, so that tests may share a network.
type network struct {
	*topo.Net
	kernel     *ipvs.Client
	clientPort uint16
	port       uint16
	mark       uint32
}

func newNetwork(t *testing.T, servers int) *network {
	t.Helper()
	n := &network{
		Net:        topotest.New(t, topo.Spec{Servers: servers, IPv6: true}),
		clientPort: 10000,
		port:       1000,
	}
	must(t, n.Prepare(topo.NAT))
	must(t, n.Director.Do(func() (err error) {
		n.kernel, err = ipvs.Dial(ipvs.Options{})
		return err
	}))
	t.Cleanup(func() { must(t, n.kernel.Close()) })
	return n
}

// from is an address with a port that was never used before.
func (n *network) from(a netip.Addr) netip.AddrPort {
	n.clientPort++
	return netip.AddrPortFrom(a, n.clientPort)
}

// addr is a real server's address of a family.
func addr(h *topo.Host, f ipvs.Family) netip.Addr {
	if f == ipvs.IPv6 {
		return h.Addr6
	}
	return h.Addr4
}

// serve has all real servers answer until the test ends.
func (n *network) serve(t *testing.T, protocol string, f ipvs.Family, port uint16) {
	t.Helper()
	for _, h := range n.Servers {
		s, err := h.Serve(protocol, port, addr(h, f))
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
	}
}

// make adds a service, with servers in this order, until the test ends.
func (n *network) make(t *testing.T, s ipvs.Service, servers ...ipvs.Destination) {
	t.Helper()
	changes := []ipvs.Change{{Op: ipvs.AddService, Service: s}}
	for _, d := range servers {
		changes = append(changes, ipvs.Change{Op: ipvs.AddDestination, Service: s, Destination: d})
	}
	must(t, n.kernel.Apply(slices.Values(changes)))
	t.Cleanup(func() { must(t, n.kernel.Do(ipvs.Change{Op: ipvs.DeleteService, Service: s})) })
}

// refused is the server of a connection that got none.
const refused = "refused"

// open opens a connection from a client port of its own and tells which server
// has it.
func (n *network) open(t *testing.T, protocol string, from, to netip.AddrPort) (*topo.Conn, string) {
	t.Helper()
	c, err := n.Client.Dial(t.Context(), protocol, from, to)
	if err == nil {
		var a topo.Answer
		if a, err = c.Ask(t.Context()); err == nil {
			t.Cleanup(func() { _ = c.Reset() }) // it may be closed already
			return c, a.Server
		}
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("%s %s > %s: %v", protocol, from, to, err)
	}
	return nil, refused
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
