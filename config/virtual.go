package config

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Virtual is a virtual service with its real servers.
type Virtual struct {
	// Name is unique within the configuration and never empty.
	Name    string
	Service ipvs.Service
	// Forward is the method of real servers that have none of their own.
	Forward ipvs.Method
	// VIPInterface gets the address while the service runs; empty: none does.
	VIPInterface string
	// Quorum is the sum of weights below which the service counts as down.
	Quorum int
	// Hysteresis is by how much more than Quorum it takes to be up again, and by
	// how much less to be down; less than Quorum.
	Hysteresis int
	// Fallback are used while no real server is up. Weight is 1, Checks is empty.
	Fallback        []Real
	FallbackCommand []string // argv, to which "start" or "stop" is added; empty: none
	Notify          Notify   // of the service as a whole
	FullNAT         FullNAT  // used when Forward is ipvs.FullNAT
	Policy
	// Checks must all pass; there is at least one. Those of a real server are
	// in Real.Checks, which has the same length and order.
	Checks []Check
	Reals  []Real

	// Pos is where the service begins.
	Pos Position
	// Comment is what Print writes above the service; Load leaves it empty.
	Comment string
}

// Notify are the programs that are run when a service, or a real server, comes
// up and goes down: argv, empty: none.
type Notify struct{ Up, Down []string }

// FullNAT is how full NAT of a service works.
type FullNAT struct {
	Plane         Plane
	Local         []netip.Addr // source addresses towards real servers; empty: the director's own
	ProxyProtocol string       // "", "v1", "v2", "v2-every"
	// TrustedPeers are the proxies in front whose PROXY headers are passed on;
	// there are none without ProxyProtocol.
	TrustedPeers   []netip.Prefix
	ConnectTimeout time.Duration // of one try
	Retries        int           // other servers tried when a connect fails
	// Asked: the file has connect_timeout, or retries, which the kernel cannot do.
	Asked struct{ ConnectTimeout, Retries bool }
	// Notrack keeps connections in user space out of connection tracking.
	Notrack        bool
	MaxConnections int  // at a time, in user space; 0: no limit
	CutRemoved     bool // connections of a removed server are reset, in user space
}

// NewFullNAT is full NAT as it is when nothing is said of it.
func NewFullNAT() FullNAT { return plainFullNAT() }

var plainFullNAT = sync.OnceValue(func() (f FullNAT) {
	setDefaults(fullNATKeys, &f)
	return f
})

// Plane is where full NAT is done.
type Plane string

// The planes.
const (
	PlaneAuto      Plane = "auto"
	PlaneKernel    Plane = "kernel"
	PlaneUserspace Plane = "userspace"
)

// Position is a line of a file; the zero Position is nowhere.
type Position struct {
	File string
	Line int
}

// Family is that of the service.
func (v *Virtual) Family() ipvs.Family { return v.Service.AF() }

// DefaultName is the name of a service that was given none: its address, with
// the protocol behind it when that is not TCP.
func DefaultName(k ipvs.ServiceKey) string {
	switch {
	case k.FWMark != 0:
		return k.String()
	case k.Protocol == ipvs.TCP:
		return k.Addr.String()
	}
	return k.Addr.String() + "/" + k.Protocol.String()
}

// Port is the service's port as it is in a real server's address when that has
// none: 0 for a firewall mark.
func (v *Virtual) Port() uint16 { return v.Service.Addr.Port() }

func portSuffix(p uint16) string {
	if p == 0 {
		return ""
	}
	return ":" + strconv.Itoa(int(p))
}
