package topo

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
)

// Limits of the address plan.
const (
	maxClients = 16  // 172.16.0.0/12 holds so many /16
	maxServers = 200 // rs200 is 10.9.0.210
)

// Spec says what New builds. The zero value is one client, a director and one
// real server, IPv4 only.
type Spec struct {
	Clients int  // number of clients; 0 means 1, at most 16
	Servers int  // number of real servers; 0 means 1, at most 200
	IPv6    bool // give everything IPv6 addresses too
	Router  bool // put a router between the clients and the servers' segment
	Named   bool // also bind the namespaces to /run/netns/NAME, where a shell finds them
}

func (s Spec) check() (Spec, error) {
	s.Clients, s.Servers = max(s.Clients, 1), max(s.Servers, 1)
	if s.Clients > maxClients || s.Servers > maxServers {
		return s, fmt.Errorf("topo: build %d clients and %d servers: at most %d and %d fit the address plan",
			s.Clients, s.Servers, maxClients, maxServers)
	}
	return s, nil
}

// Net is a running network. Its methods and those of its hosts may be called
// from several goroutines, but not after or during Close.
type Net struct {
	Client   *Host   // the first of Clients
	Clients  []*Host // client1, client2 ...
	Router   *Host   // nil when the Spec has none
	Director *Host
	Servers  []*Host // rs1, rs2 ...
	Switch   *Host   // the bridge of the servers' segment: its ports are named after the hosts

	// The virtual addresses New gave the director. VIP6 is the zero Addr
	// without IPv6. AddVIP adds more.
	VIP4, VIP6 netip.Addr

	spec Spec
	macs uint16 // interfaces made so far, for their MAC addresses

	mu   sync.Mutex
	vips []netip.Addr
	open map[io.Closer]struct{} // servers and captures to close at the end
}

// New builds the network. All links are up and all addresses are usable when it
// returns. The real servers have no route to the clients yet, see Prepare.
func New(spec Spec) (*Net, error) {
	spec, err := spec.check()
	if err != nil {
		return nil, err
	}
	n := &Net{spec: spec, open: map[io.Closer]struct{}{}}
	if err := n.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("topo: build: %w", err), n.Close())
	}
	return n, nil
}

func (n *Net) build() error {
	for _, step := range []func() error{n.addHosts, n.wireSegment, n.wireClients, n.addVIPs} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (n *Net) addHosts() (err error) {
	add := func(name string, forwards bool) *Host {
		var h *Host
		if err == nil {
			h, err = newHost(n, name, forwards)
		}
		return h
	}
	n.Switch = add("switch", false)
	if n.spec.Router {
		n.Router = add("router", true)
	}
	n.Director = add("director", true)
	for i := range n.spec.Clients {
		n.Clients = append(n.Clients, add(fmt.Sprintf("client%d", i+1), false))
	}
	for i := range n.spec.Servers {
		n.Servers = append(n.Servers, add(fmt.Sprintf("rs%d", i+1), false))
	}
	n.Client = n.Clients[0]
	return err
}

// Hosts returns every host: clients, router, director, servers, switch.
func (n *Net) Hosts() []*Host {
	all := slices.Concat(n.Clients, []*Host{n.Router, n.Director}, n.Servers, []*Host{n.Switch})
	return slices.DeleteFunc(all, func(h *Host) bool { return h == nil })
}

// gateway is the host that the clients hang on.
func (n *Net) gateway() *Host {
	if n.Router != nil {
		return n.Router
	}
	return n.Director
}

// Close stops the servers and captures and gives the namespaces back. The
// kernel takes a namespace down when the last socket in it is closed, so
// connections from Dial and Listen are to be closed by who opened them.
func (n *Net) Close() error {
	n.mu.Lock()
	open := n.open
	n.open = map[io.Closer]struct{}{}
	n.mu.Unlock()
	var errs []error
	for c := range open {
		errs = append(errs, c.Close())
	}
	for _, h := range n.Hosts() {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}

// keep has Close close c, unless drop is called first.
func (n *Net) keep(c io.Closer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[c] = struct{}{}
}

func (n *Net) drop(c io.Closer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, c)
}
