package ipvstest

import (
	"fmt"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// reason is what an errno means as the answer to c. ipvs.Client decides the
// same way; the conformance suite compares them.
func reason(c Call, errno unix.Errno) error {
	switch errno {
	case unix.ENOENT:
		return missing(c)
	case unix.ESRCH:
		if c.Op == "stop daemon" {
			return because(ipvs.ErrNoDaemon, errno)
		}
		return because(ipvs.ErrNoService, errno)
	}
	for _, m := range []struct {
		errno    unix.Errno
		sentinel error
	}{
		{unix.EPERM, ipvs.ErrPermission},
		{unix.EEXIST, ipvs.ErrExists},
		{unix.ENODEV, ipvs.ErrNoDevice},
		{unix.ERANGE, ipvs.ErrRange},
		{unix.EINVAL, ipvs.ErrInvalid},
		{unix.EAFNOSUPPORT, ipvs.ErrFamily},
		{unix.EOPNOTSUPP, ipvs.ErrUnsupported},
		{unix.EPROTONOSUPPORT, ipvs.ErrUnsupported},
		{unix.ENOBUFS, ipvs.ErrLost},
	} {
		if m.errno == errno {
			return because(m.sentinel, errno)
		}
	}
	return errno
}

// missing tells the meanings of ENOENT apart.
func missing(c Call) error {
	switch c.change.Op {
	case ipvs.AddService, ipvs.UpdateService:
		if c.change.Service.PE != "" {
			return fmt.Errorf("%w, %w", ipvs.ErrNoScheduler, ipvs.ErrNoEngine)
		}
		return ipvs.ErrNoScheduler
	case ipvs.UpdateDestination, ipvs.DeleteDestination:
		return because(ipvs.ErrNoDestination, unix.ENOENT)
	}
	return ipvs.ErrNoIPVS
}

func because(sentinel error, errno unix.Errno) error {
	return fmt.Errorf("%w (%w)", sentinel, errno)
}
