package ipvsadm

import (
	"iter"

	"github.com/goipvs/goipvs/ipvs"
)

// noKernel answers everything with one error: there is no IPVS, or nothing is
// asked of it.
type noKernel struct{ err error }

func (k noKernel) Info() (ipvs.Info, error)              { return ipvs.Info{}, k.err }
func (k noKernel) Services() ([]ipvs.ServiceInfo, error) { return nil, k.err }
func (k noKernel) Service(ipvs.ServiceKey) (ipvs.ServiceInfo, error) {
	return ipvs.ServiceInfo{}, k.err
}
func (k noKernel) Do(ipvs.Change) error              { return k.err }
func (k noKernel) Flush() error                      { return k.err }
func (k noKernel) Zero() error                       { return k.err }
func (k noKernel) ZeroService(ipvs.ServiceKey) error { return k.err }
func (k noKernel) Timeouts() (ipvs.Timeouts, error)  { return ipvs.Timeouts{}, k.err }
func (k noKernel) SetTimeouts(ipvs.Timeouts) error   { return k.err }
func (k noKernel) Daemons() ([]ipvs.Daemon, error)   { return nil, k.err }
func (k noKernel) StartDaemon(ipvs.Daemon) error     { return k.err }
func (k noKernel) StopDaemon(ipvs.Daemon) error      { return k.err }
func (k noKernel) Close() error                      { return nil }

func (k noKernel) Destinations(_ ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	return buf, k.err
}

// Apply refuses the first change there is. It has to ask for it: planes divides
// the sequence on the way here.
func (k noKernel) Apply(changes iter.Seq[ipvs.Change]) error {
	for range changes {
		return k.err
	}
	return nil
}
