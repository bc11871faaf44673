package daemon

import (
	"iter"

	"github.com/goipvs/goipvs/ipvs"
)

// absent is the kernel of a machine without IPVS, where all services run through
// the full NAT engine: there is nothing in it, and nothing can be put there.
type absent struct{}

func (absent) Services() ([]ipvs.ServiceInfo, error) { return nil, nil }

func (absent) Destinations(k ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	return buf, &ipvs.OpError{Op: "list destinations", Object: k.String(), Err: ipvs.ErrNoService}
}

func (absent) Apply(iter.Seq[ipvs.Change]) error {
	return &ipvs.OpError{Op: "apply changes", Err: ipvs.ErrNoIPVS}
}

func (absent) Timeouts() (ipvs.Timeouts, error) { return ipvs.Timeouts{}, nil }
func (absent) SetTimeouts(ipvs.Timeouts) error  { return nil }
func (absent) Daemons() ([]ipvs.Daemon, error)  { return nil, nil }

func (absent) StartDaemon(ipvs.Daemon) error {
	return &ipvs.OpError{Op: "start sync daemon", Err: ipvs.ErrNoIPVS}
}

func (absent) StopDaemon(ipvs.Daemon) error {
	return &ipvs.OpError{Op: "stop sync daemon", Err: ipvs.ErrNoIPVS}
}
