package fullnat

import (
	"errors"
	"net/netip"

	"github.com/goipvs/goipvs/fullnat/tproxy"
	"github.com/goipvs/goipvs/ipvs"
)

// The rules that bring packets to services of firewall marks and of port 0. They
// are the engine's, but outlive it, as its sockets may in the hands of another
// process: without sockets they do nothing.

// ErrPermission is a service that takes rights that the process does not have.
var ErrPermission = errors.New("a service of a firewall mark, or of port 0, takes CAP_NET_ADMIN")

// ErrOthers are rules that another process lives by.
var ErrOthers = tproxy.ErrOthers

// rulesWanted are those for the services that there are.
func (e *Engine) rulesWanted() (r tproxy.Rules) {
	for _, k := range e.keys() {
		if !diverted(k) {
			if e.services[everyPort(k)] != nil {
				r.Exact = append(r.Exact, k)
			}
			continue
		}
		for _, p := range protocols(k) {
			if fds := e.services[k].sockets[p]; len(fds) > 0 {
				r.Diverts = append(r.Diverts, tproxy.Divert{Key: k, Protocol: p, Port: socketAddr(fds[0]).Port()})
			}
		}
	}
	return r
}

// everyPort is the service of all ports of a service's address.
func everyPort(k ipvs.ServiceKey) ipvs.ServiceKey {
	return ipvs.AddrService(k.Protocol, netip.AddrPortFrom(k.Addr.Addr(), 0))
}

// divert has packets come to the services that there are. If they cannot, those
// that were added and need it are taken away again. A paused engine leaves the
// rules to the process that goes on.
func (e *Engine) divert(added []ipvs.ServiceKey) error {
	want := e.rulesWanted()
	if e.paused || len(want.Diverts) == 0 && !e.ruled {
		return nil
	}
	_, err := e.rules.Apply(want)
	if e.ruled = err != nil || len(want.Diverts) > 0; err == nil {
		return nil
	}
	var errs []error
	for _, k := range added {
		if diverted(k) || e.services[everyPort(k)] != nil {
			e.remove(e.services[k])
			errs = append(errs, opError("add service", k, err))
		}
	}
	if len(errs) == 0 { // of what was there before, which Mend tries again
		e.log.Warn("packets are not brought to services of firewall marks and of port 0", "err", err)
	}
	return errors.Join(errs...)
}

// Undivert takes away the rules of an engine whose process was killed, where there
// is no engine any more. They do no harm, but nobody else would. Those of one that
// lives stay (ErrOthers).
func Undivert() error {
	_, err := new(tproxy.Plane).Apply(tproxy.Rules{})
	return err
}

// Differs tells whether somebody has changed the rules that bring packets to
// services of firewall marks and of port 0. It changes nothing.
func (e *Engine) Differs() (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	want := e.rulesWanted()
	if e.paused || e.closed || len(want.Diverts) == 0 && !e.ruled {
		return false, nil
	}
	return e.rules.Differs(want)
}

// Mend makes those rules what they should be.
func (e *Engine) Mend() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.paused {
		return nil
	}
	_, err := e.rules.Apply(e.rulesWanted())
	return err
}
