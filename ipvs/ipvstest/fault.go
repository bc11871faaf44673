package ipvstest

import (
	"slices"
	"strconv"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// Fault is something that goes wrong. The zero value but for Err hits the next
// operation, whatever it is.
type Fault struct {
	// Op and Object choose the operations, as an ipvs.OpError names them; an
	// empty one matches all. Op is an ipvs.Op's text ("add service") or one of
	// read info, list services, read service, list destinations, flush, zero
	// counters, read timeouts, set timeouts, list sync daemons, start sync
	// daemon, stop sync daemon.
	Op, Object string
	// After lets so many matching operations pass first.
	After int
	// Times is how many are hit after that; 0 means one, a negative number all.
	Times int

	// Err is the outcome: a unix.Errno as the kernel would answer it, which the
	// caller sees as ipvs.Client would report it, or any other error as it is,
	// such as ipvs.ErrLost or ipvs.ErrNoIPVS.
	Err error
	// Done has the operation carried out, or refused, all the same: only the
	// answer is this one. A lost reply can mean either.
	Done bool
	// Show spoils a listing: of n entries those at the positions it returns are
	// seen, in that order. See [Skip] and [Repeat]. A Fault with Show but no Err
	// matches listings only.
	Show func(n int) []int
}

// Skip leaves out entries of a listing, by position.
func Skip(positions ...int) func(n int) []int {
	return func(n int) (out []int) {
		for i := range n {
			if !slices.Contains(positions, i) {
				out = append(out, i)
			}
		}
		return out
	}
}

// Repeat lists entries twice, by position.
func Repeat(positions ...int) func(n int) []int {
	return func(n int) (out []int) {
		for i := range n {
			out = append(out, i)
			if slices.Contains(positions, i) {
				out = append(out, i)
			}
		}
		return out
	}
}

// Inject adds faults to k. Of several that match an operation the first counts.
// It panics when a Fault names an operation that does not exist.
func (k *Kernel) Inject(faults ...Fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range faults {
		if f.Op != "" && !slices.Contains(operations, f.Op) {
			panic("ipvstest: no operation is called " + strconv.Quote(f.Op))
		}
		if f.Times == 0 {
			f.Times = 1
		}
		k.faults = append(k.faults, &f)
	}
}

// Heal removes all faults of k.
func (k *Kernel) Heal() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults = nil
}

// hit uses up and returns the fault that c meets; the zero Fault is none.
func (k *Kernel) hit(c Call) Fault {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, f := range k.faults {
		switch {
		case f.Op != "" && f.Op != c.Op, f.Object != "" && f.Object != c.Object:
		case f.Err == nil && !c.isListing():
		case f.After > 0:
			f.After--
		default:
			if f.Times--; f.Times == 0 {
				k.faults = slices.Delete(k.faults, i, i+1)
			}
			return *f
		}
	}
	return Fault{}
}

func (f Fault) failure(c Call) error {
	if errno, ok := f.Err.(unix.Errno); ok { //nolint:errorlint // one that is wrapped is somebody's own error
		return failure(c, reason(c, errno))
	}
	return failure(c, f.Err)
}

var operations = []string{opInfo, opServices, opService, opDestinations, opFlush, opZero, opTimeouts, opSetTimeouts, opDaemons, opStart, opStop,
	ipvs.AddService.String(), ipvs.UpdateService.String(), ipvs.DeleteService.String(),
	ipvs.AddDestination.String(), ipvs.UpdateDestination.String(), ipvs.DeleteDestination.String()}

func (c Call) isListing() bool { return c.Op == opServices || c.Op == opDestinations }
