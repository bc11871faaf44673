package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
)

// What the kernel refused, decided by command and errno together: ENOENT alone
// may be a missing destination, scheduler, persistence engine or IPVS itself.
// Test with errors.Is; the errno stays reachable too, but for ENOENT where it
// does not mean that something is not there.
var (
	ErrNoIPVS        = errors.New("the kernel has no IPVS (module ip_vs)")
	ErrPermission    = error(permissionError{}) // is fs.ErrPermission, too
	ErrNoService     = errors.New("no such service")
	ErrNoDestination = errors.New("no such destination")
	ErrExists        = errors.New("already exists")
	ErrNoScheduler   = errors.New("scheduler not available")
	ErrNoEngine      = errors.New("persistence engine not available")
	ErrNoDaemon      = errors.New("no such sync daemon is running")
	ErrNoDevice      = errors.New("no such network interface")
	ErrRange         = errors.New("out of range")
	ErrFamily        = errors.New("wrong address family")
	// ErrInvalid: for a destination also when lo is down in the namespace
	// (IPVS then takes no address for unicast), when the address is not unicast,
	// and when it is of another family while a sync daemon runs.
	ErrInvalid     = errors.New("invalid argument")
	ErrUnsupported = errors.New("not supported by this kernel")
	// ErrLost: the kernel dropped replies, so the outcome is unknown. List again.
	ErrLost = errors.New("kernel replies were lost, outcome unknown")
	// ErrTimeout: a listing did not end within Options.Timeout.
	ErrTimeout = errors.New("no answer from the kernel in time")
	// ErrReply: the kernel's answer could not be understood.
	ErrReply = errors.New("malformed answer from the kernel")
)

// permissionError is made without package fmt, whose first use costs a short
// program more than all its other preparations.
type permissionError struct{}

func (permissionError) Error() string { return "permission denied (CAP_NET_ADMIN is needed)" }
func (permissionError) Unwrap() error { return fs.ErrPermission }

// OpError is the error of every operation on a kernel.
type OpError struct {
	Op     string // "add service", "list destinations", ...
	Object string // "tcp 192.0.2.1:80 wrr"; empty where there is none
	Index  int    // position in the sequence given to Apply, otherwise 0
	Err    error
}

func (e *OpError) Error() string {
	s := "ipvs: " + e.Op
	if e.Object != "" {
		s += " " + e.Object
	}
	return s + ": " + e.Err.Error()
}

func (e *OpError) Unwrap() error { return e.Err }

// BatchError lists the changes of one Apply that failed, in order. The others
// were made.
type BatchError struct{ Failed []*OpError }

func (e *BatchError) Error() string {
	if len(e.Failed) == 1 {
		return e.Failed[0].Error()
	}
	return fmt.Sprintf("%v (and %d more)", e.Failed[0], len(e.Failed)-1)
}

func (e *BatchError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f
	}
	return errs
}
