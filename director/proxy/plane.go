// Package proxy shows the full NAT engine to the director as one more kernel: it
// is read, planned for and changed as IPVS is.
package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
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
	// scheduling is the engine's.
	scheduling fullnat.Scheduling
	services   map[ipvs.ServiceKey]*fullnat.Service // never changed, only replaced
	options    map[ipvs.ServiceKey]fullnat.Options  // how they are served
	settled    bool
	told       map[ipvs.ServiceKey]bool // to Options.Listening
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

// lastUDP is how long, at most, a UDP session may be idle in a process that is
// on its way out: its client's datagrams go to the next one already.
const lastUDP = 30 * time.Second

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
	if t = t.Or(p.timeouts); t == p.timeouts {
		return // which the engine looks at all connections for
	}
	p.timeouts = t
	if p.engine != nil {
		p.engine.SetTimeouts(t)
	}
}

// Timeouts are those that count.
func (p *Plane) Timeouts() ipvs.Timeouts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fullnat.WithDefaults(p.timeouts)
}

// SetScheduling is the engine's, for when it runs.
func (p *Plane) SetScheduling(s fullnat.Scheduling) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s == p.scheduling {
		return
	}
	p.scheduling = s
	if p.engine != nil {
		p.engine.SetScheduling(s)
	}
}

// Differs tells whether others have changed the rules that bring packets to
// services of firewall marks and of port 0.
func (p *Plane) Differs() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine == nil {
		return false, nil
	}
	return p.engine.Differs()
}

// Mend makes those rules right. Without a service that needs some there are none.
func (p *Plane) Mend() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine == nil {
		return fullnat.Undivert()
	}
	return p.engine.Mend()
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
