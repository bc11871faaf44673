package ipvs

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// fault is a refusal in our words. The errno stays reachable by errors.Is
// where it means what it says, but is not printed: "no such process" helps
// nobody who looks for a service.
type fault struct {
	text string
	is   []error
}

func (f *fault) Error() string   { return f.text }
func (f *fault) Unwrap() []error { return f.is }

// because is err in the words of the package, if err is a refusal. The same
// number means different things to different commands, so cmd decides; ch is
// the change that was refused, nil for other commands.
func because(err error, cmd command, ch *Change) error {
	r, ok := err.(*refusal)
	if !ok {
		return err
	}
	f := reason(cmd, r.errno, ch)
	if r.text != "" {
		return fmt.Errorf("%w: %s", f, r.text)
	}
	return f
}

// reason names what the errno of a command means (ip_vs_genl_set_cmd and what
// it calls, in net/netfilter/ipvs/ip_vs_ctl.c).
func reason(cmd command, errno syscall.Errno, ch *Change) error {
	is := func(kind error) error { return &fault{kind.Error(), []error{kind, errno}} }
	switch errno {
	case unix.ENOENT:
		switch cmd {
		case cmdNewService, cmdSetService:
			return missingModule(ch)
		case cmdSetDest, cmdDelDest:
			return is(ErrNoDestination)
		}
		return ErrNoIPVS // the family is not registered
	case unix.ESRCH:
		if cmd == cmdDelDaemon {
			return is(ErrNoDaemon)
		}
		return is(ErrNoService)
	case unix.EEXIST:
		return is(ErrExists)
	case unix.EPERM, unix.EACCES:
		return is(ErrPermission)
	case unix.ERANGE:
		return is(ErrRange)
	case unix.EINVAL:
		return is(ErrInvalid)
	case unix.EAFNOSUPPORT:
		return is(ErrFamily)
	case unix.EOPNOTSUPP, unix.EPROTONOSUPPORT:
		return is(ErrUnsupported)
	case unix.ENODEV:
		return is(ErrNoDevice)
	}
	return errno
}

// missingModule is ENOENT for adding or updating a service: ip_vs_add_service
// looks for the scheduler, then for the engine, and does not say which one it
// missed. The errno is left out: nothing that could be listed is missing.
func missingModule(ch *Change) error {
	if ch == nil {
		return ErrNoScheduler
	}
	s := &ch.Service
	if s.PE == "" {
		return fmt.Errorf("%w (ip_vs_%s)", ErrNoScheduler, s.Scheduler)
	}
	return &fault{
		fmt.Sprintf("scheduler or persistence engine not available (ip_vs_%s, ip_vs_pe_%s)", s.Scheduler, s.PE),
		[]error{ErrNoScheduler, ErrNoEngine},
	}
}

// opError is the error of a request that is not a change; nil in, nil out.
func opError(op, object string, cmd command, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{Op: op, Object: object, Err: because(err, cmd, nil)}
}
