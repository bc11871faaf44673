// Package proxy shows the full NAT engine to the director as one more kernel: it
// is read, planned for and changed as IPVS is.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// Plane is an engine with the methods of a kernel. It starts the engine with the
// first service, so that a daemon without full NAT has none. Make one with New.
type Plane struct {
	o   Options
	log *slog.Logger

	mu       sync.Mutex
	engine   *fullnat.Engine
	paused   bool
	state    fullnat.State // of the last run, what the engine has no server for yet
	timeouts ipvs.Timeouts
	services map[ipvs.ServiceKey]*fullnat.Service // never changed, only replaced
	options  map[ipvs.ServiceKey]fullnat.Options  // how they are served
	settled  bool
	told     map[ipvs.ServiceKey]bool // to Options.Listening
}

// Options are those of a Plane. The zero value begins with nothing.
type Options struct {
	Log *slog.Logger // nil: nothing is logged
	// State is that of the last run.
	State fullnat.State
	// Inherited are the listening sockets of the run before, see
	// fullnat.Config. They are what of full NAT outlives a process, so those of
	// Services that have them are there from the beginning, as the kernel's are.
	Inherited []*os.File
	Services  []fullnat.Service
	// Paused: nothing new is taken before Resume.
	Paused bool
	// Listening hears which sockets there are from now on, which it closes, and
	// whose sockets are closed; nil: nobody does.
	Listening func(opened []*os.File, closed []ipvs.ServiceKey)
	// Changed is called when the services or their servers have changed (Table);
	// nil: nobody is. It must not call the Plane.
	Changed func()
}

// New returns a Plane.
func New(o Options) *Plane {
	p := &Plane{o: o, log: o.Log, state: o.State, paused: o.Paused,
		services: make(map[ipvs.ServiceKey]*fullnat.Service), options: make(map[ipvs.ServiceKey]fullnat.Options), told: make(map[ipvs.ServiceKey]bool)}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.o.Changed == nil {
		p.o.Changed = func() {}
	}
	p.begin()
	return p
}

// begin goes on with the services whose sockets there are.
func (p *Plane) begin() {
	have := make(map[ipvs.ServiceKey]bool)
	for _, f := range p.o.Inherited {
		if k, ok := fullnat.ListensTo(f); ok {
			have[k] = true
		}
	}
	if len(p.o.Inherited) == 0 {
		return
	}
	p.told = maps.Clone(have) // whoever kept the sockets for us has them
	next := make(edited)
	for i := range p.o.Services {
		if s := p.o.Services[i]; have[s.ServiceKey] {
			next[s.ServiceKey] = &s
		}
	}
	refused, err := p.serve(next)
	for k, why := range refused {
		err = errors.Join(err, fmt.Errorf("%s: %w", k, why))
	}
	if err != nil {
		p.log.Warn("not every service of full NAT goes on", "err", err)
	}
	p.restore()
}

// Settled says that all services are there that there will be for now. The
// inherited sockets of others are closed, and Options.Listening hears from now
// on.
func (p *Plane) Settled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = true
	if p.engine != nil {
		p.engine.Disinherit()
	}
	p.tell()
}

// changed tells that the services have changed, and what has become of their
// listening sockets.
func (p *Plane) changed() {
	p.restore()
	p.o.Changed()
	p.tell()
}

func (p *Plane) tell() {
	if p.o.Listening == nil || !p.settled {
		return
	}
	var closed []ipvs.ServiceKey
	for k := range p.told {
		if p.services[k] == nil {
			closed = append(closed, k)
			delete(p.told, k)
		}
	}
	var fresh []ipvs.ServiceKey
	for k := range p.services {
		if !p.told[k] {
			fresh = append(fresh, k)
		}
	}
	opened := p.listeners(fresh)
	for _, f := range opened {
		if k, ok := fullnat.ListensTo(f); ok {
			p.told[k] = true
		}
	}
	if len(opened)+len(closed) > 0 {
		p.o.Listening(opened, closed)
	}
}

func (p *Plane) listeners(of []ipvs.ServiceKey) []*os.File {
	if p.engine == nil || len(of) == 0 {
		return nil
	}
	files, err := p.engine.ListenersOf(of)
	if err != nil {
		p.log.Warn("listening sockets cannot be kept", "err", err)
	}
	return files
}

// Listeners are copies of all listening sockets, for the next process.
func (p *Plane) Listeners() []*os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listeners(slices.SortedFunc(maps.Keys(p.services), ipvs.ServiceKey.Compare))
}

// Table is what there is now, for the next process.
func (p *Plane) Table() []fullnat.Service {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]fullnat.Service, 0, len(p.services))
	for _, k := range slices.SortedFunc(maps.Keys(p.services), ipvs.ServiceKey.Compare) {
		out = append(out, p.wanted(p.services[k]))
	}
	return out
}

// Pause takes nothing new before Resume: another process may go on instead.
func (p *Plane) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
	if p.engine != nil {
		p.engine.Pause()
	}
}

// Resume undoes Pause.
func (p *Plane) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
	if p.engine != nil {
		p.engine.Resume()
	}
}

// Restore takes over what the process before knew at the end.
func (p *Plane) Restore(s fullnat.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	if p.engine != nil {
		p.restore()
	}
}

// lastUDP is how long, at most, a UDP session may be idle in a process that is
// on its way out: its client's datagrams go to the next one already.
const lastUDP = 30 * time.Second

// Drain stops listening and waits for the connections to end, until ctx does.
func (p *Plane) Drain(ctx context.Context) error {
	p.mu.Lock()
	e := p.engine
	p.mu.Unlock()
	if e == nil {
		return nil
	}
	if t := e.Timeouts(); t.UDP > lastUDP {
		e.SetTimeouts(ipvs.Timeouts{UDP: lastUDP})
	}
	return e.Drain(ctx)
}

// Conns is how many connections there are.
func (p *Plane) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine == nil {
		return 0
	}
	return p.engine.Conns()
}

// SetOptions says how all services are served, those that Apply adds and those
// that there are. Where the engine cannot do it the service stays as it was.
func (p *Plane) SetOptions(o map[ipvs.ServiceKey]fullnat.Options) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.options
	p.options = maps.Clone(o)
	return p.reserve(old, o)
}

// SetOption is SetOptions for one service.
func (p *Plane) SetOption(k ipvs.ServiceKey, o fullnat.Options) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := make(map[ipvs.ServiceKey]fullnat.Options)
	if was, had := p.options[k]; had {
		old[k] = was
	}
	p.options[k] = o
	return p.reserve(old, map[ipvs.ServiceKey]fullnat.Options{k: o})
}

// reserve has services be served with other options than before.
func (p *Plane) reserve(old, now map[ipvs.ServiceKey]fullnat.Options) error {
	changed := make(edited)
	for k, o := range now {
		s := p.services[k]
		if s == nil {
			continue
		}
		was, had := old[k]
		if !had {
			was = s.Options
		}
		if !reflect.DeepEqual(was, o) {
			changed[k] = s
		}
	}
	if p.engine == nil || len(changed) == 0 {
		return nil
	}
	defer p.o.Changed()
	refused, err := p.serve(changed)
	for k, why := range refused {
		if was, had := old[k]; had {
			p.options[k] = was // a refused service stays as it was
		} else {
			delete(p.options, k)
		}
		err = errors.Join(err, fmt.Errorf("%s: %w", k, why))
	}
	return err
}

// SetTimeouts is the engine's, for when it runs.
func (p *Plane) SetTimeouts(t ipvs.Timeouts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timeouts = t
	if p.engine != nil {
		p.engine.SetTimeouts(t)
	}
}

// State is what would be missed if the next process did not know it.
func (p *Plane) State() fullnat.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine == nil {
		return p.state
	}
	st := p.engine.State()
	older := st.At.Sub(p.state.At)
	still := func(list []fullnat.ClientState) (out []fullnat.ClientState) {
		for _, c := range list {
			if c.Expires -= older; c.Expires > 0 {
				out = append(out, c)
			}
		}
		return out
	}
	st.Sessions = append(st.Sessions, still(p.state.Sessions)...)
	st.Templates = append(st.Templates, still(p.state.Templates)...)
	st.Counters = append(st.Counters, p.state.Counters...)
	return st
}

// restore gives the engine what there are servers for by now. They come when
// they have been checked.
func (p *Plane) restore() {
	if p.engine == nil || len(p.state.Sessions)+len(p.state.Templates)+len(p.state.Counters) == 0 {
		return
	}
	now, later := fullnat.State{At: p.state.At}, fullnat.State{At: p.state.At}
	split := func(list []fullnat.ClientState, now, later *[]fullnat.ClientState) {
		for _, c := range list {
			if p.has(ipvs.AddrService(c.Protocol, c.Virtual), c.Server) {
				*now = append(*now, c)
			} else {
				*later = append(*later, c)
			}
		}
	}
	split(p.state.Sessions, &now.Sessions, &later.Sessions)
	split(p.state.Templates, &now.Templates, &later.Templates)
	for _, c := range p.state.Counters {
		if p.has(ipvs.AddrService(c.Protocol, c.Virtual), c.Server) {
			now.Counters = append(now.Counters, c)
		} else {
			later.Counters = append(later.Counters, c)
		}
	}
	p.state = later
	p.engine.Restore(now)
}

// has reports whether a service has a server, or, without one, is there.
func (p *Plane) has(k ipvs.ServiceKey, server netip.AddrPort) bool {
	s := p.services[k]
	if s == nil || !server.IsValid() {
		return s != nil
	}
	return slices.ContainsFunc(s.Destinations, func(d ipvs.Destination) bool {
		return d.Addr == server || d.Addr.Port() == 0 && d.Addr.Addr() == server.Addr()
	})
}

// Close ends the engine and its connections.
func (p *Plane) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine != nil {
		p.engine.Close()
		p.engine = nil
	}
}

// wanted is a service with how it is to be served.
func (p *Plane) wanted(s *fullnat.Service) fullnat.Service {
	out := *s
	if o, ok := p.options[s.ServiceKey]; ok {
		out.Options = o
	}
	return out
}

// Services lists the services as a kernel does.
func (p *Plane) Services() ([]ipvs.ServiceInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]ipvs.ServiceInfo, 0, len(p.services))
	for _, s := range p.services {
		out = append(out, p.info(s))
	}
	return out, nil
}

// Locals are the local addresses of a service, with their counts.
func (p *Plane) Locals(k ipvs.ServiceKey) (all []ipvs.LocalInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	live, _ := p.live(k)
	for i := range live.Locals {
		l := &live.Locals[i]
		all = append(all, ipvs.LocalInfo{Addr: l.Addr, Conns: l.Conns, Conflicts: l.Conflicts})
	}
	return all
}

// Service is one service as a kernel lists it.
func (p *Plane) Service(k ipvs.ServiceKey) (ipvs.ServiceInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.services[k]
	if s == nil {
		return ipvs.ServiceInfo{}, &ipvs.OpError{Op: "read service", Object: k.String(), Err: ipvs.ErrNoService}
	}
	return p.info(s), nil
}

// info is a service with what the engine counts.
func (p *Plane) info(s *fullnat.Service) ipvs.ServiceInfo {
	info := ipvs.ServiceInfo{Service: s.Service}
	if live, ok := p.live(s.ServiceKey); ok {
		info.Stats = live.Stats
	}
	return info
}

func (p *Plane) live(k ipvs.ServiceKey) (fullnat.ServiceInfo, bool) {
	if p.engine == nil {
		return fullnat.ServiceInfo{}, false
	}
	return p.engine.Service(k)
}

// Destinations appends the servers of a service as a kernel does.
func (p *Plane) Destinations(k ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.services[k]
	if s == nil {
		return buf, &ipvs.OpError{Op: "list destinations", Object: k.String(), Err: ipvs.ErrNoService}
	}
	live, _ := p.live(k)
	return destinationsOf(buf, s, &live), nil
}

// destinationsOf appends the servers of a service with what the engine counts.
func destinationsOf(buf []ipvs.DestinationInfo, s *fullnat.Service, live *fullnat.ServiceInfo) []ipvs.DestinationInfo {
	counts := make(map[netip.AddrPort]*ipvs.DestinationInfo, len(live.Destinations))
	for i := range live.Destinations {
		counts[live.Destinations[i].Addr] = &live.Destinations[i].DestinationInfo
	}
	for _, d := range s.Destinations {
		info := ipvs.DestinationInfo{}
		if now := counts[d.Addr]; now != nil {
			info = *now
		}
		info.Destination = d
		buf = append(buf, info)
	}
	return buf
}

// Apply makes changes. The engine takes all of them at once; a service that it
// refuses stays as it was.
func (p *Plane) Apply(changes iter.Seq[ipvs.Change]) error {
	list := slices.Collect(changes)
	p.mu.Lock()
	defer p.mu.Unlock()
	next, failed := p.change(list)
	refused, err := p.serve(next)
	if err != nil {
		return &ipvs.OpError{Op: "apply changes", Err: err}
	}
	for k, err := range refused {
		failed = append(failed, blamed(list, k, err)...)
	}
	p.changed()
	if len(failed) > 0 {
		return &ipvs.BatchError{Failed: failed}
	}
	return nil
}

// edited are the services that something is changed of; nil: it is to go.
type edited map[ipvs.ServiceKey]*fullnat.Service

// serve has the engine serve these services, and tells which of them it refuses,
// which stay as they were.
func (p *Plane) serve(next edited) (refused map[ipvs.ServiceKey]error, err error) {
	if err := p.start(); err != nil {
		return nil, err
	}
	var want []fullnat.Service
	var gone []ipvs.ServiceKey
	for _, k := range slices.SortedFunc(maps.Keys(next), ipvs.ServiceKey.Compare) {
		if s := next[k]; s != nil {
			want = append(want, p.wanted(s))
		} else {
			gone = append(gone, k)
		}
	}
	err = p.engine.Change(want, gone)
	if errors.Is(err, fullnat.ErrClosed) {
		return nil, err
	}
	refused = refusedBy(err)
	for k, s := range next {
		switch {
		case refused[k] != nil:
		case s != nil:
			p.services[k] = s
		default:
			delete(p.services, k)
		}
	}
	return refused, nil
}

// blamed are the changes that a service's refusal concerns.
func blamed(list []ipvs.Change, k ipvs.ServiceKey, err error) (failed []*ipvs.OpError) {
	for i, c := range list {
		if c.Service.ServiceKey == k {
			failed = append(failed, &ipvs.OpError{Op: c.Op.String(), Object: c.Object(), Index: i, Err: err})
		}
	}
	return failed
}

// start starts the engine if it does not run.
func (p *Plane) start() error {
	if p.engine != nil {
		return nil
	}
	e, err := fullnat.New(fullnat.Config{Log: p.log, Unpinned: true, Inherited: p.o.Inherited, Paused: p.paused})
	if err != nil {
		return err
	}
	p.engine, p.o.Inherited = e, nil
	if p.timeouts != (ipvs.Timeouts{}) {
		e.SetTimeouts(p.timeouts)
	}
	return nil
}

// change is what services will be, and the changes that make no sense.
func (p *Plane) change(list []ipvs.Change) (next edited, failed []*ipvs.OpError) {
	next = make(edited)
	for i, c := range list {
		k := c.Service.ServiceKey
		if _, known := next[k]; !known {
			next[k] = nil
			if s := p.services[k]; s != nil {
				own := *s
				own.Destinations = slices.Clone(s.Destinations)
				next[k] = &own
			}
		}
		if err := one(next, c); err != nil {
			failed = append(failed, &ipvs.OpError{Op: c.Op.String(), Object: c.Object(), Index: i, Err: err})
		}
	}
	return next, failed
}

// one makes one change as the kernel does, with its errors.
func one(all edited, c ipvs.Change) error {
	k := c.Service.ServiceKey
	s := all[k]
	switch {
	case c.Op == ipvs.AddService && s != nil:
		return ipvs.ErrExists
	case c.Op == ipvs.AddService:
		all[k] = &fullnat.Service{Service: c.Service}
		return nil
	case s == nil:
		return ipvs.ErrNoService
	case c.Op == ipvs.UpdateService:
		s.Service = c.Service
		return nil
	case c.Op == ipvs.DeleteService:
		all[k] = nil
		return nil
	}
	i := slices.IndexFunc(s.Destinations, func(d ipvs.Destination) bool { return d.Addr == c.Destination.Addr })
	switch {
	case c.Op == ipvs.AddDestination && i >= 0:
		return ipvs.ErrExists
	case c.Op == ipvs.AddDestination:
		s.Destinations = append(s.Destinations, c.Destination)
	case i < 0:
		return ipvs.ErrNoDestination
	case c.Op == ipvs.UpdateDestination:
		s.Destinations[i] = c.Destination
	case c.Op == ipvs.DeleteDestination:
		s.Destinations = slices.Delete(s.Destinations, i, i+1)
	}
	return nil
}

// refusedBy are the services that the engine would not have, by their keys'
// text in its errors.
func refusedBy(err error) map[ipvs.ServiceKey]error {
	out := make(map[ipvs.ServiceKey]error)
	for _, e := range flatten(err) {
		var op *fullnat.OpError
		if errors.As(e, &op) {
			if k, ok := parseKey(op.Object); ok {
				out[k] = op.Err
			}
		}
	}
	return out
}

func flatten(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// parseKey reads "tcp 192.0.2.10:80".
func parseKey(text string) (k ipvs.ServiceKey, ok bool) {
	for _, p := range []ipvs.Protocol{ipvs.TCP, ipvs.UDP} {
		if addr, is := strings.CutPrefix(text, p.String()+" "); is {
			a, err := netip.ParseAddrPort(addr)
			return ipvs.AddrService(p, a), err == nil
		}
	}
	return k, false
}

// Connections are those of all services.
func (p *Plane) Connections() []fullnat.Connection {
	p.mu.Lock()
	e := p.engine
	p.mu.Unlock()
	if e == nil {
		return nil
	}
	return e.Connections()
}

// Zero sets the counters of one service to zero, or of all for the zero key.
func (p *Plane) Zero(k ipvs.ServiceKey) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case k != ipvs.ServiceKey{} && p.services[k] == nil:
		return ipvs.ErrNoService
	case p.engine == nil:
	case k == ipvs.ServiceKey{}:
		p.engine.Zero()
	default:
		return p.engine.ZeroService(k)
	}
	return nil
}
