package ipvs

import (
	"net/netip"
	"strings"
)

// Op is what a [Change] does.
type Op uint8

// The operations. The zero Op is none.
const (
	AddService Op = iota + 1
	UpdateService
	DeleteService
	AddDestination
	UpdateDestination
	DeleteDestination
	// Those of full NAT's local addresses, which no kernel has.
	AddLocal
	DeleteLocal
)

var opNames = [...]string{"", "add service", "update service", "delete service",
	"add destination", "update destination", "delete destination",
	"add local address", "delete local address"}

func (o Op) String() string {
	if o == 0 || int(o) >= len(opNames) {
		return "invalid operation"
	}
	return opNames[o]
}

// Change is one step between two tables. An update sets every property: those
// left zero become zero.
type Change struct {
	Op Op
	// Service is the service, or for a destination's change the one it belongs
	// to, of which only the key counts. DeleteService, too, reads the key only.
	Service Service
	// Destination is not read by a service's change; DeleteDestination reads
	// its Addr only.
	Destination Destination
	// Local is that of AddLocal and DeleteLocal.
	Local netip.Addr
}

// Object names what the change is about: "tcp 192.0.2.1:80 wlc" or
// "10.0.0.1:80 of tcp 192.0.2.1:80".
func (c Change) Object() string {
	key := c.Service.ServiceKey.String()
	switch c.Op {
	case AddService, UpdateService:
		return strings.TrimRight(key+" "+c.Service.Scheduler, " ")
	case AddDestination, UpdateDestination, DeleteDestination:
		return c.Destination.Addr.String() + " of " + key
	case AddLocal, DeleteLocal:
		return c.Local.String() + " of " + key
	}
	return key
}

func (c Change) String() string { return c.Op.String() + " " + c.Object() }
