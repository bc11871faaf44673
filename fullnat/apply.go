package fullnat

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
)

// ErrClosed is what a closed engine answers.
var ErrClosed = errors.New("engine is closed")

// Apply makes the engine serve exactly the services of want. Connections of
// what stays are not disturbed; those of removed servers and services finish,
// or are cut if so configured. Services are taken one by one: those that fail
// are in the error, which joins one *OpError for each, and stay as they were.
func (e *Engine) Apply(want []Service) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	keys, added, err := e.apply(want)
	if keys == nil {
		return err
	}
	for k, svc := range e.services {
		if !keys[k] {
			e.remove(svc)
		}
	}
	return errors.Join(err, e.divert(added))
}

// Change is Apply for some services: those of want are served as they say, those
// of gone no more, and all others as they were.
func (e *Engine) Change(want []Service, gone []ipvs.ServiceKey) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	keys, added, err := e.apply(want)
	if keys == nil {
		return err
	}
	for _, k := range gone {
		if svc := e.services[k]; svc != nil {
			e.remove(svc)
		}
	}
	return errors.Join(err, e.divert(added))
}

// apply serves these services too. keys are theirs, nil of a closed engine, and
// those of added were not there before.
func (e *Engine) apply(want []Service) (keys map[ipvs.ServiceKey]bool, added []ipvs.ServiceKey, err error) {
	if e.closed {
		return nil, nil, &OpError{Op: "apply", Err: ErrClosed}
	}
	var errs []error
	keys = make(map[ipvs.ServiceKey]bool, len(want))
	for i := range want {
		w := &want[i]
		switch err := w.Check(); {
		case err != nil:
			errs = append(errs, opError("apply service", w.ServiceKey, err))
		case keys[w.ServiceKey]:
			errs = append(errs, opError("apply service", w.ServiceKey, ipvs.ErrExists))
		case e.services[w.ServiceKey] == nil:
			if err := e.add(w); err != nil {
				errs = append(errs, opError("add service", w.ServiceKey, err))
			} else {
				added = append(added, w.ServiceKey)
			}
		default:
			errs = append(errs, opError("update service", w.ServiceKey, e.update(e.services[w.ServiceKey], w)))
		}
		keys[w.ServiceKey] = true
	}
	return keys, added, errors.Join(errs...)
}

// add makes a service, its servers first, and then listens for it.
func (e *Engine) add(w *Service) error {
	scheduling := e.scheduling
	model, err := sched.New(e.clock(), w.Service, &scheduling)
	if err != nil {
		return ofScheduler(w.Scheduler, err)
	}
	svc := &service{
		key: w.ServiceKey, sched: model, scheduling: &scheduling,
		servers: map[netip.AddrPort]*server{}, locals: map[netip.Addr]*local{}, sockets: map[ipvs.Protocol][]int32{},
	}
	if err := e.update(svc, w); err != nil {
		return err
	}
	sockets, err := e.listenAll(w.ServiceKey)
	if err != nil {
		return err
	}
	e.services[w.ServiceKey] = svc
	for p, fds := range sockets {
		e.serve(svc, p, fds)
	}
	return nil
}

// serve spreads sockets over the loops.
func (e *Engine) serve(svc *service, p ipvs.Protocol, fds []int32) {
	for _, fd := range fds {
		e.loops[len(svc.sockets[p])%len(e.loops)].do(func(l *loop) { l.serve(svc, p, fd) })
		svc.sockets[p] = append(svc.sockets[p], fd)
	}
	e.setListening(e.listening + len(fds))
}

// listenAll opens a socket for each loop and protocol, all or none. Inherited
// ones are all used, also more than there are loops: closing one would reset the
// connections in its queue. For the same reason a paused engine adds none to
// them: it may never come to accept.
func (e *Engine) listenAll(k ipvs.ServiceKey) (map[ipvs.Protocol][]int32, error) {
	opened, sockets := []int32(nil), make(map[ipvs.Protocol][]int32)
	for _, p := range protocols(k) {
		at := endpoint{k, p}
		fds := e.inherited[at]
		if !e.paused || len(fds) == 0 {
			more, err := openListeners(at, fds, len(e.loops)-len(fds))
			if err != nil {
				closeAll(opened)
				return nil, err
			}
			opened = append(opened, more...)
			fds = append(fds, more...)
		}
		sockets[p] = fds
	}
	for p := range sockets {
		delete(e.inherited, endpoint{k, p})
	}
	return sockets, nil
}

// update brings a service's options, scheduler and servers to what is wanted.
func (e *Engine) update(svc *service, w *Service) error {
	if err := e.configure(svc, w); err != nil {
		return err
	}
	set := e.settingsOf(svc, w)
	svc.settings.Store(set)
	removed := e.updateServers(svc, w)
	svc.want = *w
	svc.want.Destinations = slices.Clone(w.Destinations)
	svc.want.Options.Locals = slices.Clone(w.Options.Locals)
	svc.want.Options.TrustedPeers = slices.Clone(w.Options.TrustedPeers)
	if len(removed) > 0 && w.Options.CutRemoved {
		e.cut(func(c *conn) bool { return slices.Contains(removed, c.dst) })
	}
	if len(removed) > 0 && w.Protocol != ipvs.TCP {
		e.reschedule(removed)
	}
	return nil
}

func (e *Engine) configure(svc *service, w *Service) error {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	return ofScheduler(w.Scheduler, svc.sched.Update(e.clock(), w.Service))
}

// settingsOf keeps the LIPs that were there, with their counts.
func (e *Engine) settingsOf(svc *service, w *Service) *settings {
	o := &w.Options
	s := &settings{
		proxy: o.ProxyProtocol, trusted: slices.Clone(o.TrustedPeers), connect: o.connectSeconds(), retries: o.retries(),
		maxConns: int64(o.MaxConns), onePacket: w.Flags&ipvs.OnePacket != 0, persistent: w.Flags&ipvs.Persistent != 0,
	}
	s.headEach = s.onePacket || s.proxy == ProxyV2Every
	for _, a := range o.Locals {
		lip := svc.locals[a]
		if lip == nil {
			lip = newLocal(a, len(e.loops))
			svc.locals[a] = lip
		}
		if a.Is4() {
			s.locals4 = append(s.locals4, lip)
		} else {
			s.locals6 = append(s.locals6, lip)
		}
	}
	return s
}

// updateServers adds and raises first, so that no connection finds fewer
// servers than both ends have. It returns the servers that were removed. What was checked before cannot fail.
func (e *Engine) updateServers(svc *service, w *Service) (removed []*server) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	now, wanted := e.clock(), map[netip.AddrPort]bool{}
	for _, d := range w.Destinations {
		wanted[d.Addr] = true
		if svc.sched.Server(d.Addr) == nil {
			e.addServer(svc, d)
		}
	}
	for _, lower := range []bool{false, true} {
		for _, d := range w.Destinations {
			have := svc.sched.Server(d.Addr)
			if have == nil || have.Destination() == d || (d.Weight < have.Destination().Weight) != lower {
				continue
			}
			_ = svc.sched.UpdateServer(now, d)
		}
	}
	for _, d := range svc.order {
		if !wanted[d.addr] && !d.removed {
			d.removed = true
			_ = svc.sched.DeleteServer(now, d.addr)
			removed = append(removed, d)
		}
	}
	svc.order = slices.DeleteFunc(svc.order, func(d *server) bool { return d.removed })
	return removed
}

// addServer finds a server that came back as it was, with its connections.
func (e *Engine) addServer(svc *service, d ipvs.Destination) {
	ours := svc.servers[d.Addr]
	if ours == nil {
		ours = newServer(d, svc.key.Addr.Port(), len(e.loops))
		svc.servers[d.Addr] = ours
	}
	if svc.sched.AddServer(e.clock(), d) != nil {
		return
	}
	ours.removed = false
	svc.sched.Server(d.Addr).Data = ours
	svc.order = append(svc.order, ours)
}

func (e *Engine) remove(svc *service) {
	delete(e.services, svc.key)
	e.all(func(l *loop) { l.unserve(svc) })
	e.setListening(e.listening - svc.listening())
	if svc.key.Protocol != ipvs.TCP {
		e.endFlows(svc)
	}
	if svc.want.Options.CutRemoved {
		e.cut(func(c *conn) bool { return c.svc == svc })
	}
}

// reschedule takes UDP sessions from removed servers; their next datagram goes
// to another one. Nothing would tell clients that nobody answers.
func (e *Engine) reschedule(removed []*server) {
	e.all(func(l *loop) {
		for i := range l.flows.used {
			if f := l.flows.at(i); f.gen%2 == 1 && slices.Contains(removed, f.dst) {
				l.detach(f)
			}
		}
	})
}

func (e *Engine) endFlows(svc *service) {
	e.all(func(l *loop) {
		for i := range l.flows.used {
			if f := l.flows.at(i); f.gen%2 == 1 && f.at.ln.svc == svc {
				l.endFlow(f)
			}
		}
	})
}

// cut resets the connections that match.
func (e *Engine) cut(match func(*conn) bool) {
	e.all(func(l *loop) {
		for i := range l.conns.used {
			if c := l.conns.at(i); c.gen%2 == 1 && match(c) {
				l.abort(c)
			}
		}
	})
}
