package realserver

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/record"
)

// Why a host does not become a real server, or not another kind of one. Test
// with errors.Is.
var (
	// ErrOnWire: the VIP is on an interface that answers for it.
	ErrOnWire = errors.New("neighbours ask for addresses there")
	// ErrElsewhere: the VIP is on another device, or as part of a network.
	ErrElsewhere = errors.New("the address is there already")
	// ErrDiffers: the VIP was added in another way.
	ErrDiffers = errors.New("it was added in another way")
	// ErrNotOurs: the address to delete was not added by us.
	ErrNotOurs = errors.New("it was not added by goipvs")

	errNoDevice = errors.New("no such interface")
	errNoModule = errors.New("module not available")
	errRecord   = errors.New("no record of a real server has this")
	errVersion  = errors.New("ip6tnl0 takes IPv6 out of IPv6 only, as it is")
	errIPv6Off  = errors.New("IPv6 is off")
)

// OpError is the error of an operation: what was done to what, and why not.
type OpError struct {
	Op, Object string
	Err        error
}

func (e *OpError) Error() string {
	s := "realserver: " + e.Op
	if e.Object != "" {
		s += " " + e.Object
	}
	return s + ": " + e.Err.Error()
}

func (e *OpError) Unwrap() error { return e.Err }

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// Hint says what may help against an error of this package, or nothing.
func Hint(err error) string {
	var h hinted
	var op *OpError
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.Is(err, errNoModule) && errors.As(err, &op):
		for dev, module := range modules {
			if dev == op.Object {
				return "modprobe " + module + "; containers cannot load modules, so do it on the host (also: net.core.fb_tunnels_only_for_init_net must be 0)"
			}
		}
		return "modprobe fou; containers cannot load modules, so do it on the host"
	case errors.Is(err, record.ErrForeign), errors.Is(err, errRecord):
		return "see what is in " + record.Dir + ", put back by hand what it says, and remove it"
	case errors.Is(err, record.ErrBusy):
		return "wait for it, or see who it is: fuser " + record.Dir + "/*.lock"
	case sysctl.Hint(err) != "":
		return sysctl.Hint(err)
	case errors.Is(err, unix.EROFS):
		return "what was there before is recorded in " + record.Dir + ", which must be writable: mount -o remount,rw /run"
	case errors.Is(err, fs.ErrPermission):
		return "changing addresses and knobs needs root (CAP_NET_ADMIN), also in this network namespace"
	}
	return ""
}
