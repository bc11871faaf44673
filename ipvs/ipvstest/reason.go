package ipvstest

import (
	"fmt"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// refusal is an errno in the words of package ipvs.
type refusal struct {
	text string
	is   []error
}

func (r *refusal) Error() string   { return r.text }
func (r *refusal) Unwrap() []error { return r.is }

var meanings = map[unix.Errno]error{
	unix.EPERM:           ipvs.ErrPermission,
	unix.EACCES:          ipvs.ErrPermission,
	unix.ESRCH:           ipvs.ErrNoService,
	unix.EEXIST:          ipvs.ErrExists,
	unix.ENODEV:          ipvs.ErrNoDevice,
	unix.ERANGE:          ipvs.ErrRange,
	unix.EINVAL:          ipvs.ErrInvalid,
	unix.EAFNOSUPPORT:    ipvs.ErrFamily,
	unix.EOPNOTSUPP:      ipvs.ErrUnsupported,
	unix.EPROTONOSUPPORT: ipvs.ErrUnsupported,
}

// reason is what an errno means as the answer to c. ipvs.Client decides the
// same way; the kernel tests compare the two, text included.
func reason(c Call, errno unix.Errno) error {
	switch {
	case errno == unix.ENOENT:
		return missing(c.change)
	case errno == unix.ESRCH && c.Op == opStop:
		return because(ipvs.ErrNoDaemon, errno)
	case meanings[errno] != nil:
		return because(meanings[errno], errno)
	}
	return errno
}

// missing tells the meanings of ENOENT apart.
func missing(c ipvs.Change) error {
	switch c.Op {
	case ipvs.AddService, ipvs.UpdateService:
		if c.Service.PE == "" {
			return fmt.Errorf("%w (ip_vs_%s)", ipvs.ErrNoScheduler, c.Service.Scheduler)
		}
		return &refusal{
			fmt.Sprintf("scheduler or persistence engine not available (ip_vs_%s, ip_vs_pe_%s)", c.Service.Scheduler, c.Service.PE),
			[]error{ipvs.ErrNoScheduler, ipvs.ErrNoEngine},
		}
	case ipvs.UpdateDestination, ipvs.DeleteDestination:
		return because(ipvs.ErrNoDestination, unix.ENOENT)
	}
	return ipvs.ErrNoIPVS
}

func because(kind error, errno unix.Errno) error {
	return &refusal{kind.Error(), []error{kind, errno}}
}
