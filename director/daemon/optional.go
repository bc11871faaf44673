package daemon

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/ipvs"
)

// closer is a kernel that is opened and closed: ipvs.Client.
type closer interface {
	director.Kernel
	Close() error
}

// optional is the IPVS of a machine that may have none, where full NAT in user
// space is to stand in for it. While there is none, there is nothing in it and
// nothing can be put there; it may come and go.
type optional struct {
	dial func() (closer, error)
	log  *slog.Logger
	wake chan struct{}

	mu     sync.Mutex
	kernel closer // nil: there is none
	why    error  // there is none
}

// lookForIPVS is how often. Asking has the kernel start a program that loads the
// module.
const lookForIPVS = 10 * time.Second

func newOptional(dial func() (closer, error), log *slog.Logger) (*optional, error) {
	o := &optional{dial: dial, log: log, wake: make(chan struct{}, 1)}
	if _, err := o.look(); err != nil && !errors.Is(err, ipvs.ErrNoIPVS) {
		return nil, err
	}
	return o, nil
}

// absent is why there is no IPVS; nil: there is.
func (o *optional) absent() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why
}

// run looks whether it came or went, and calls changed when it did.
func (o *optional) run(ctx context.Context, changed func()) {
	tick := time.NewTicker(lookForIPVS)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		case <-tick.C:
		}
		if news, _ := o.look(); news {
			changed()
		}
	}
}

func (o *optional) look() (news bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kernel != nil {
		if _, err = o.kernel.Timeouts(); !errors.Is(err, ipvs.ErrNoIPVS) {
			return false, nil
		}
		_ = o.kernel.Close()
		o.kernel = nil
	} else {
		k, err := o.dial()
		if err == nil {
			news = o.why != nil
			o.kernel, o.why = k, nil
			if news {
				o.log.Info("this machine has IPVS now: services go back to the kernel", "event", "ipvs_appeared")
			}
			return news, nil
		}
		if o.why != nil {
			return false, err
		}
		o.why = err
	}
	if err != nil {
		o.why = err
	}
	o.log.Warn("this machine has no IPVS: services of NAT run through full NAT in user space, connections end with the daemon",
		"event", "without_ipvs", "err", o.why)
	return true, o.why
}

// get is the kernel, if there is one.
func (o *optional) get() director.Kernel {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kernel == nil {
		return nothing{}
	}
	return o.kernel
}

// noticed has run look when the kernel says that it is gone.
func (o *optional) noticed(err error) error {
	if errors.Is(err, ipvs.ErrNoIPVS) {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
	return err
}

func (o *optional) Services() ([]ipvs.ServiceInfo, error) {
	list, err := o.get().Services()
	return list, o.noticed(err)
}

func (o *optional) Service(k ipvs.ServiceKey) (ipvs.ServiceInfo, error) {
	s, err := o.get().Service(k)
	return s, o.noticed(err)
}

func (o *optional) Destinations(k ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	return o.get().Destinations(k, buf)
}

func (o *optional) Apply(c iter.Seq[ipvs.Change]) error { return o.get().Apply(c) }
func (o *optional) Timeouts() (ipvs.Timeouts, error)    { return o.get().Timeouts() }
func (o *optional) SetTimeouts(t ipvs.Timeouts) error   { return o.get().SetTimeouts(t) }
func (o *optional) Daemons() ([]ipvs.Daemon, error)     { return o.get().Daemons() }
func (o *optional) StartDaemon(d ipvs.Daemon) error     { return o.get().StartDaemon(d) }
func (o *optional) StopDaemon(d ipvs.Daemon) error      { return o.get().StopDaemon(d) }

// Close closes the kernel, if there is one.
func (o *optional) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kernel == nil {
		return nil
	}
	return o.kernel.Close()
}

// nothing is the kernel of a machine without IPVS.
type nothing struct{}

func (nothing) Services() ([]ipvs.ServiceInfo, error) { return nil, nil }

func (nothing) Service(k ipvs.ServiceKey) (ipvs.ServiceInfo, error) {
	return ipvs.ServiceInfo{}, &ipvs.OpError{Op: "read service", Object: k.String(), Err: ipvs.ErrNoService}
}

func (nothing) Destinations(k ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	return buf, &ipvs.OpError{Op: "list destinations", Object: k.String(), Err: ipvs.ErrNoService}
}

func (nothing) Apply(iter.Seq[ipvs.Change]) error {
	return &ipvs.OpError{Op: "apply changes", Err: ipvs.ErrNoIPVS}
}

func (nothing) Timeouts() (ipvs.Timeouts, error) { return ipvs.Timeouts{}, nil }
func (nothing) SetTimeouts(ipvs.Timeouts) error  { return nil }
func (nothing) Daemons() ([]ipvs.Daemon, error)  { return nil, nil }

func (nothing) StartDaemon(ipvs.Daemon) error {
	return &ipvs.OpError{Op: "start sync daemon", Err: ipvs.ErrNoIPVS}
}

func (nothing) StopDaemon(ipvs.Daemon) error {
	return &ipvs.OpError{Op: "stop sync daemon", Err: ipvs.ErrNoIPVS}
}
