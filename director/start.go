package director

import (
	"maps"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

func newState(d *Director, setup *Setup) *state {
	s := &state{
		d: d, setup: setup, began: d.now(),
		services:  make(map[ipvs.ServiceKey]*service),
		dirty:     make(map[ipvs.ServiceKey]bool),
		overrides: maps.Clone(d.o.Restored.Overrides),
		daemons:   d.o.Restored.Sync,
		files:     d.o.Restored.Files,
	}
	if s.overrides == nil {
		s.overrides = make(map[ServerID]*Override)
	}
	for i := range setup.Services {
		v := newService(&setup.Services[i])
		s.services[v.Key()] = v
	}
	s.countChecks()
	s.bring(d.o.Manual)
	if d.o.Known != nil {
		s.know(d.o.Known)
	}
	s.configure()
	return s
}

// start takes over what the kernel has and makes it what is wanted.
func (s *state) start() error {
	s.takeOrphans()
	s.recallLeaving()
	if err := s.look(nil); err != nil {
		return err
	}
	for _, key := range s.keys() {
		v := s.services[key]
		s.adopt(v)
		if v.shadowed { // it ran in the kernel before
			v.former = &former{plane: s.d.o.Kernel}
		}
	}
	s.recallHold()
	s.adoptSourceNAT()
	s.nat.untracked = true // perhaps, by the last run
	s.newGlobals()
	s.emit(Event{Kind: Started})
	s.save()
	s.recheck = true
	s.touchAll()
	s.settle()
	s.evict()
	return nil
}

// recallLeaving goes on with what was on its way out when the last run ended.
func (s *state) recallLeaving() {
	now := s.d.now()
	for id, l := range s.d.o.Restored.Leaving {
		if v := s.services[id.Service]; v != nil && s.d.o.Known == nil { // else the process before has told
			v.mem.recall(now, id.Addr, l)
		}
	}
}

// recallHold goes on with the mass failure that was held when the last run ended,
// for what is left of its time. A server counts that the kernel still gives
// traffic, and one that is out by an operator's word or file.
func (s *state) recallHold() {
	now, was := s.d.now(), s.d.o.Restored.Hold
	if s.d.o.Known != nil { // the process before has told
		return
	}
	since := now.Add(min(was.Since.Sub(now), 0)) // a clock that was set back does not make it longer
	for _, id := range was.Servers {
		if s.server(id) == nil {
			continue
		}
		srv := s.services[id.Service].mem.Server(id.Addr)
		if srv.AdoptedIn || srv.Override.active(now) || srv.Maintenance != "" {
			srv.Health, srv.Reason, srv.Since = Down, "failed in a mass failure before the restart", since
			srv.Failed, srv.Held = true, true
		}
		if srv.AdoptedIn {
			s.hold.since = since
		}
	}
}

// takeOrphans takes away services that were ours and have left the file since.
// When that are more than a reload may remove, the file is more likely wrong
// than meant: they stay, to nobody's care, until somebody removes them. Those that
// had left it before go in any case.
func (s *state) takeOrphans() {
	var gone, left []ipvs.ServiceKey
	was := &s.d.o.Restored
	for key := range was.Owned {
		switch {
		case s.services[key] != nil:
		case was.Gone[key]:
			gone = append(gone, key)
		default:
			left = append(left, key)
		}
	}
	if all := len(was.Owned) - len(was.Gone); float64(len(left)) > s.setup.Settings.MaxRemoval*float64(all) {
		s.emit(Event{Kind: OrphansKept, Reason: (&ErrTooManyRemoved{len(left), all, s.setup.Settings.MaxRemoval}).Error()})
	} else {
		gone = append(gone, left...)
	}
	for _, key := range gone {
		s.services[key] = s.leaving(key)
	}
	own := make(map[ipvs.ServiceKey]time.Duration)
	for id, l := range s.d.o.Restored.Leaving {
		own[id.Service] = max(own[id.Service], l.patience())
	}
	for _, key := range gone { // those that left the file before had a drain of their own
		if d, known := own[key]; known {
			s.services[key].Drain = d
		}
	}
}

// adopt takes the servers that the kernel has for what they are there: they
// keep their traffic until their first verdict.
func (s *state) adopt(v *service) {
	if v.Manual != nil {
		return // its weights are what commands said
	}
	for i := range v.have {
		h := &v.have[i]
		r := v.server(ServerID{v.Key(), h.Addr})
		if r == nil {
			continue
		}
		srv := v.mem.Server(h.Addr)
		if srv.Health != Unchecked || srv.Adopted {
			continue
		}
		srv.Adopted, srv.AdoptedIn = true, h.Weight > 0
		v.mem.Up = v.mem.Up || srv.AdoptedIn
		switch {
		case !srv.AdoptedIn:
		case r.Weighs:
			srv.Weight = healthcheck.Weight{Said: true, Value: h.Weight} // as its check said it before us
		case s.overrides[ServerID{v.Key(), h.Addr}] == nil:
			srv.Ramp = climbed(s.d.now(), h.Weight, r.Weight, v.SlowStart) // it was on its way when the last run ended
		}
		s.emit(v.event(ServerAdopted, h.Addr, ""))
	}
	v.adoptFallback()
}

// adoptFallback takes a fallback that is in use for what it is, so that its end
// is told, and its command run.
func (v *service) adoptFallback() {
	for _, f := range v.Fallback {
		if h := v.inKernel(f.Addr); h != nil && h.Weight > 0 && v.server(ServerID{v.Key(), f.Addr}) == nil {
			v.decision.Fallback, v.decided = true, true
		}
	}
}

// leaving is a service that was ours and is no longer in the file. Where the
// file does not say how to take leave the daemon's default does.
func (s *state) leaving(key ipvs.ServiceKey) *service {
	v := newService(&VirtualService{Name: key.String(), Service: ipvs.Service{ServiceKey: key}, Drain: s.setup.Settings.Drain})
	v.gone = true
	if s.proxied(key) {
		v.Proxy = &fullnat.Options{}
	}
	return v
}

// countChecks has each service know how many checks its servers have.
func (s *state) countChecks() {
	counts := s.setup.checkCounts()
	for key, v := range s.services {
		v.count(counts[key])
	}
}

// configure brings what depends on the setup up to date.
func (s *state) configure() {
	s.all = nil
	s.setProxyOptions()
	set := &s.setup.Settings
	s.hold.Share, s.hold.Window = set.HoldShare, set.HoldWindow
	s.followNames()
	for key, v := range s.services {
		s.maintain(v)
		for i := range v.Servers {
			a := v.Servers[i].Addr
			srv := v.mem.Server(a)
			srv.Override, srv.Window = s.overrides[ServerID{key, a}], v.Servers[i].Window
		}
	}
}

// setProxyOptions tells the full NAT engine how to serve.
func (s *state) setProxyOptions() {
	if s.d.o.Proxy == nil {
		return
	}
	o := make(map[ipvs.ServiceKey]fullnat.Options)
	for key, v := range s.services {
		if v.Proxy != nil {
			o[key] = *v.Proxy
		}
	}
	if err := s.d.o.Proxy.SetOptions(o); err != nil {
		s.emit(Event{Kind: KernelRefused, Reason: err.Error()})
	}
}

func (s *state) touch(v *service) { s.dirty[v.Key()] = true }

func (s *state) touchAll() {
	for key := range s.services {
		s.dirty[key] = true
	}
}
