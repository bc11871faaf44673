package ipvsadm

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Resolver translates between numbers and the names of hosts and ports. It asks
// for each thing once, and reads nothing before the first question. The zero
// value knows /etc/hosts and /etc/services. It is not for concurrent use.
type Resolver struct {
	// Hosts is a file in the form of /etc/hosts that is asked in place of
	// /etc/hosts and System.
	Hosts string
	// System is asked for what is not in /etc/hosts, and for everything where
	// nsswitch.conf does not name the file first. Nil knows nothing.
	System HostNames
	// Services is read in place of /etc/services when set.
	Services string
	// Timeout is how long the names of a whole listing may take; what is not
	// answered by then is printed as a number. 0 means 2 s.
	Timeout time.Duration

	deadline time.Time
	wanted   []netip.Addr
	reverse  map[netip.Addr]string // "": no name, or not known yet
	forward  map[hostQuery]hostAnswer
	hosts    *hostsFile
	ports    *portNames
}

// HostNames knows the names of hosts; package ipvsadm/dns has one.
type HostNames interface {
	// Address returns the first address of that family that a host name has.
	Address(name string, f ipvs.Family) (netip.Addr, error)
	// Names returns the names of those addresses that have one, as far as they
	// are known by the deadline.
	Names(deadline time.Time, addrs []netip.Addr) map[netip.Addr]string
}

type hostQuery struct {
	name   string
	family ipvs.Family
}

// hostAnswer is kept for failures, too: a rules file names a host on many
// lines, and waiting for each again would take forever.
type hostAnswer struct {
	addr netip.Addr
	err  error
}

// Host returns the first address of that family that a host name has.
func (r *Resolver) Host(name string, f ipvs.Family) (netip.Addr, error) {
	q := hostQuery{name, f}
	if a, ok := r.forward[q]; ok {
		return a.addr, a.err
	}
	a, err := r.host(name, f)
	if err != nil {
		a, err = netip.Addr{}, fmt.Errorf("no %s address for host name %q: %w", f, name, err)
	}
	if r.forward == nil {
		r.forward = make(map[hostQuery]hostAnswer)
	}
	r.forward[q] = hostAnswer{a, err}
	return a, err
}

func (r *Resolver) host(name string, f ipvs.Family) (netip.Addr, error) {
	h, err := r.hostsFile()
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := h.address(name, f)
	if err == nil || r.Hosts != "" || r.System == nil {
		return a, err
	}
	return r.System.Address(name, f)
}

// Port returns the port that a service name such as "http" has with a protocol.
func (r *Resolver) Port(name string, p ipvs.Protocol) (uint16, error) {
	ports, err := r.portNames()
	if err != nil {
		return 0, fmt.Errorf("no port for service name %q: %w", name, err)
	}
	port, ok := ports.port[portName{name, p}]
	if !ok {
		return 0, fmt.Errorf("no port for service name %q with %s", name, p)
	}
	return port, nil
}

// append appends host:port, by name where there is one. A nil Resolver appends
// numbers.
func (r *Resolver) append(b []byte, a netip.AddrPort, p ipvs.Protocol) []byte {
	if r == nil {
		return appendEndpoint(b, a)
	}
	switch name := r.reverse[a.Addr()]; {
	case name == "":
		b = appendHost(b, a.Addr())
	case a.Addr().Is4():
		b = append(b, name...)
	default:
		b = append(append(append(b, '['), name...), ']')
	}
	b = append(b, ':')
	// A services file that cannot be read names no port.
	if ports, err := r.portNames(); err == nil {
		if name := ports.name[portNumber{a.Port(), p}]; name != "" {
			return append(b, name...)
		}
	}
	return strconv.AppendUint(b, uint64(a.Port()), 10)
}
