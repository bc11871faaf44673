package director

import (
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// Kernel is what a Director keeps right: ipvs.Client is one, so is
// ipvstest.Kernel, and the full NAT engine has the same methods.
type Kernel interface {
	plane
	Timeouts() (ipvs.Timeouts, error)
	SetTimeouts(ipvs.Timeouts) error
	Daemons() ([]ipvs.Daemon, error)
	StartDaemon(ipvs.Daemon) error
	StopDaemon(ipvs.Daemon) error
}

// Proxy is the full NAT engine as one more kernel.
type Proxy interface {
	plane
	// SetOptions says how services are served that Apply adds or has added.
	SetOptions(map[ipvs.ServiceKey]fullnat.Options) error
	// SetOption is SetOptions for one service; others stay as they were.
	SetOption(ipvs.ServiceKey, fullnat.Options) error
	// Differs tells whether others have changed the rules that bring packets to
	// services of firewall marks and of port 0, and Mend makes them right.
	Differs() (bool, error)
	Mend() error
	SetTimeouts(ipvs.Timeouts)
	// Failures are how often connecting to each server of a service has failed.
	Failures(ipvs.ServiceKey) map[netip.AddrPort]uint64
}

// plane is what holds a table of services.
type plane interface {
	ipvs.Kernel
	// Service reads one service by its key: a verdict costs the same among
	// thousands of them.
	Service(ipvs.ServiceKey) (ipvs.ServiceInfo, error)
}

// plane is where a service runs.
func (v *service) plane(s *state) plane {
	if v.Proxy != nil {
		return s.d.o.Proxy
	}
	return s.d.o.Kernel
}

// listing is what the kernel has of the services in hand.
type listing struct {
	services map[ipvs.ServiceKey]ipvs.ServiceInfo
	dests    map[ipvs.ServiceKey][]ipvs.DestinationInfo
	also     map[ipvs.ServiceKey]bool // seen where they should not be
}

func newListing() *listing {
	return &listing{make(map[ipvs.ServiceKey]ipvs.ServiceInfo), make(map[ipvs.ServiceKey][]ipvs.DestinationInfo), make(map[ipvs.ServiceKey]bool)}
}

// planes says which kernel to ask for which services: true for those that
// should be there, false for those that should not.
type planes map[ipvs.Lister]map[ipvs.ServiceKey]bool

// ask has a kernel asked for a service that should be there.
func (p planes) ask(k ipvs.Lister, key ipvs.ServiceKey) {
	if p[k] == nil {
		p[k] = make(map[ipvs.ServiceKey]bool)
	}
	p[k][key] = true
}

// join adds what only the other listing saw.
func (l *listing) join(o *listing) {
	for key, s := range o.services {
		if _, has := l.services[key]; !has {
			l.services[key] = s
		}
		for _, d := range o.dests[key] {
			if !slices.ContainsFunc(l.dests[key], func(h ipvs.DestinationInfo) bool { return h.Addr == d.Addr }) {
				l.dests[key] = append(l.dests[key], d)
			}
		}
	}
}

// same reports whether two listings name the same services and destinations.
func (l *listing) same(o *listing) bool {
	if len(l.services) != len(o.services) {
		return false
	}
	for key, dests := range l.dests {
		others, ok := o.dests[key]
		if !ok || len(dests) != len(others) {
			return false
		}
		if slices.EqualFunc(dests, others, func(a, b ipvs.DestinationInfo) bool { return a.Addr == b.Addr }) {
			continue
		}
		there := make(map[netip.AddrPort]bool, len(others))
		for i := range others {
			there[others[i].Addr] = true
		}
		for i := range dests {
			if !there[dests[i].Addr] {
				return false
			}
		}
	}
	return true
}

// made takes note of what the kernel has acknowledged for a service.
func (l *listing) made(key ipvs.ServiceKey, s ipvs.Service, have []ipvs.DestinationInfo) {
	info := l.services[key]
	info.Service = s
	l.services[key], l.dests[key] = info, have
}

// removed takes note that the kernel has a service no longer.
func (l *listing) removed(key ipvs.ServiceKey) {
	delete(l.services, key)
	delete(l.dests, key)
}

func (l *listing) entry(key ipvs.ServiceKey) ipvs.Entry {
	e := ipvs.Entry{Service: l.services[key].Service}
	for i := range l.dests[key] {
		e.Destinations = append(e.Destinations, l.dests[key][i].Destination)
	}
	return e
}
