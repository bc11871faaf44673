package director

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// A VirtualService is a service as its operator means it: what the kernel is to
// be told, and what to do when real servers fail, come back and leave.
type VirtualService struct {
	Name    string // for logs, status, metrics
	Service ipvs.Service
	// Servers are those of the file whose addresses are known.
	Servers []RealServer
	// Fallback is used, at weight 1, while the service is down.
	Fallback        []ipvs.Destination
	FallbackCommand []string // argv, "start" or "stop" is added

	// Quorum is the sum of weights below which the service is down; 0 is 1.
	Quorum int
	// Hysteresis is by how much more than Quorum a service needs that is down,
	// and how much less one that is up.
	Hysteresis int
	// Notify are run when the service comes up and goes down.
	Notify config.Notify
	// Quiescent gives a failed server weight 0 instead of removing it.
	Quiescent bool
	// Drain is how long a server that is to be removed may take to end its
	// connections; 0 removes it at once.
	Drain time.Duration
	// SlowStart is the time over which a server that comes back climbs to its
	// weight; 0 gives it all at once.
	SlowStart time.Duration
	// UncheckedUp has servers that were never checked count as up.
	UncheckedUp bool

	// Plane is where the service runs, as Choose chose, and Why the reason.
	// Without a plane it is the kernel, if there is no reason; with one the
	// service cannot be served on this machine.
	Plane config.Plane
	Why   string
	// Proxy has the service run through the full NAT engine; nil: by the kernel.
	Proxy *fullnat.Options
	// Notrack keeps packets of the engine out of connection tracking.
	Notrack bool
	// Locals has the kernel do full NAT: they are the source addresses towards
	// real servers. Empty: none, or it is the engine that does.
	Locals []netip.Addr
	// Path is a service of our own, by which checks go the way of clients'
	// packets. It is not the operator's, so it is shown to nobody.
	Path bool

	// Manual is what commands made the service of (goipvs -A --fullnat); nil: it is
	// the file's. A reload leaves it alone.
	Manual *ipvs.Entry

	// VIPInterface gets the virtual address while the service is ours; empty:
	// the address is somebody else's business.
	VIPInterface string
}

// Key identifies the service.
func (v *VirtualService) Key() ipvs.ServiceKey { return v.Service.ServiceKey }

// A RealServer is one server of a service, as its operator means it.
type RealServer struct {
	// Name is what the file calls it: a host name, or the address.
	Name string
	// Destination is what the kernel is told while the server is in, slow
	// start aside.
	ipvs.Destination
	// Notify are run when checks bring the server up and find it down.
	Notify config.Notify
	// Weighs: one of its checks says the weight.
	Weighs bool
	// Window is within what time its failure is found: the interval of its
	// slowest check, and the timeout. 0: Settings.HoldWindow.
	Window time.Duration
}

// ServerID identifies a real server: one address in two services is two real
// servers, each with a health and an operator's word of its own.
type ServerID struct {
	Service ipvs.ServiceKey
	Addr    netip.AddrPort
}

func (id ServerID) compare(o ServerID) int {
	return cmp.Or(id.Service.Compare(o.Service), id.Addr.Compare(o.Addr))
}

func (id ServerID) String() string { return id.Addr.String() + " of " + id.Service.String() }
