package ipvstest

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// What operations are called in an ipvs.OpError, besides those of an ipvs.Op.
// ipvs.Client names them; the conformance suite tells when these differ.
const (
	opInfo         = "read info"
	opServices     = "list services"
	opService      = "read service"
	opDestinations = "list destinations"
	opApply        = "apply changes"
	opFlush        = "flush"
	opZero         = "zero counters"
	opTimeouts     = "read timeouts"
	opSetTimeouts  = "set timeouts"
	opDaemons      = "list sync daemons"
	opStart        = "start sync daemon"
	opStop         = "stop sync daemon"
)

// Info says version 1.2.1 and a connection table of 4096 buckets.
func (k *Kernel) Info() (ipvs.Info, error) {
	err := k.run(Call{Op: opInfo}, func(*state) unix.Errno { return 0 })
	if err != nil {
		return ipvs.Info{}, err
	}
	return ipvs.Info{Version: ipvs.Version{Major: 1, Minor: 2, Patch: 1}, ConnTabSize: 4096}, nil
}

// Services lists the services, those with addresses before those with marks.
func (k *Kernel) Services() ([]ipvs.ServiceInfo, error) {
	return dump(k, Call{Op: opServices}, nil,
		func(s *state) (out []ipvs.ServiceInfo, _ unix.Errno) {
			for _, svc := range s.listed() {
				out = append(out, svc.ServiceInfo)
			}
			return out, 0
		},
		func(i ipvs.ServiceInfo) ipvs.ServiceKey { return i.ServiceKey })
}

// Service returns one service.
func (k *Kernel) Service(key ipvs.ServiceKey) (info ipvs.ServiceInfo, err error) {
	c := Call{Op: opService, Object: key.String(), bad: key.Check()}
	err = k.run(c, func(s *state) unix.Errno {
		svc, errno := s.find(key)
		if errno == 0 {
			info = svc.ServiceInfo
		}
		return errno
	})
	return info, err
}

// Destinations appends the destinations of a service to buf, newest first. With
// an error it returns buf as it was.
func (k *Kernel) Destinations(key ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	return dump(k, Call{Op: opDestinations, Object: key.String(), bad: key.Check()}, buf,
		func(s *state) (out []ipvs.DestinationInfo, _ unix.Errno) {
			svc, errno := s.find(key)
			if errno != 0 {
				return nil, errno
			}
			return svc.listed(), 0
		},
		func(i ipvs.DestinationInfo) netip.AddrPort { return i.Addr })
}

// Do makes one change.
func (k *Kernel) Do(c ipvs.Change) error { return k.change(c, 0) }

// Apply makes the changes in order and goes on after a failure, but stops where
// that is pointless, as ipvs.Client does. The sequence may use k.
func (k *Kernel) Apply(changes iter.Seq[ipvs.Change]) error {
	var failed []*ipvs.OpError
	i := 0
	for c := range changes {
		var e *ipvs.OpError
		switch err := k.change(c, i); {
		case !errors.As(err, &e): // made
		case errors.Is(e, ipvs.ErrNoIPVS), errors.Is(e, ipvs.ErrPermission):
			return stopped(e, failed)
		default:
			failed = append(failed, e)
		}
		i++
	}
	if failed != nil {
		return &ipvs.BatchError{Failed: failed}
	}
	return nil
}

// stopped is the error of an Apply that went no further than last.
func stopped(last *ipvs.OpError, failed []*ipvs.OpError) error {
	why := last.Err
	if failed != nil {
		before := &ipvs.BatchError{Failed: failed}
		why = fmt.Errorf("%w; before that: %s", why, before.Error())
	}
	return &ipvs.OpError{Op: opApply, Index: last.Index, Err: why}
}

func (k *Kernel) change(c ipvs.Change, index int) error {
	call := Call{Op: c.Op.String(), Object: c.Object(), Index: index, change: c, bad: c.Check()}
	return k.run(call, func(s *state) unix.Errno {
		switch c.Op {
		case ipvs.AddService:
			return s.addService(c.Service)
		case ipvs.UpdateService:
			return s.updateService(c.Service)
		case ipvs.DeleteService:
			return s.deleteService(c.Service.ServiceKey)
		case ipvs.AddDestination:
			return s.addDestination(c.Service.ServiceKey, c.Destination)
		case ipvs.UpdateDestination:
			return s.updateDestination(c.Service.ServiceKey, c.Destination)
		case ipvs.DeleteDestination:
			return s.deleteDestination(c.Service.ServiceKey, c.Destination.Addr)
		}
		return unix.EOPNOTSUPP
	})
}

// Flush deletes all services. Timeouts and daemons stay.
func (k *Kernel) Flush() error { return k.run(Call{Op: opFlush}, (*state).flush) }

// Zero sets the counters of all services and destinations to zero.
func (k *Kernel) Zero() error { return k.run(Call{Op: opZero}, (*state).zero) }

// ZeroService sets the counters of one service and its destinations to zero.
func (k *Kernel) ZeroService(key ipvs.ServiceKey) error {
	return k.run(Call{Op: opZero, Object: key.String(), bad: key.Check()},
		func(s *state) unix.Errno { return s.zeroService(key) })
}

// Timeouts returns the namespace's connection timeouts.
func (k *Kernel) Timeouts() (t ipvs.Timeouts, err error) {
	err = k.run(Call{Op: opTimeouts}, func(s *state) unix.Errno {
		t = s.timeouts
		return 0
	})
	return t, err
}

// SetTimeouts sets those timeouts that are not zero.
func (k *Kernel) SetTimeouts(t ipvs.Timeouts) error {
	return k.run(Call{Op: opSetTimeouts, bad: t.Check()},
		func(s *state) unix.Errno { return s.setTimeouts(t) })
}

// Daemons lists the running sync daemons, the master first.
func (k *Kernel) Daemons() (out []ipvs.Daemon, err error) {
	err = k.run(Call{Op: opDaemons}, func(s *state) unix.Errno {
		for _, state := range []ipvs.DaemonState{ipvs.Master, ipvs.Backup} {
			if d, running := s.daemons[state]; running {
				out = append(out, d)
			}
		}
		return 0
	})
	return out, err
}

// StartDaemon starts a sync daemon; it sends and receives nothing.
func (k *Kernel) StartDaemon(d ipvs.Daemon) error {
	object := d.State.String()
	if d.Interface != "" {
		object += " " + d.Interface
	}
	return k.run(Call{Op: opStart, Object: object, bad: d.Check()},
		func(s *state) unix.Errno { return s.startDaemon(d) })
}

// StopDaemon stops the daemon of d.State; the rest of d is not read.
func (k *Kernel) StopDaemon(d ipvs.Daemon) error {
	return k.run(Call{Op: opStop, Object: d.State.String()},
		func(s *state) unix.Errno { return s.stopDaemon(d.State) })
}

// Close does nothing: the table outlives those who use it.
func (k *Kernel) Close() error { return nil }
