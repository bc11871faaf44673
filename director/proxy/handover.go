package proxy

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// What one process hands to the next, or needs while it does.

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
			if p.has(c.Service(p.serves), c.Server) {
				*now = append(*now, c)
			} else {
				*later = append(*later, c)
			}
		}
	}
	split(p.state.Sessions, &now.Sessions, &later.Sessions)
	split(p.state.Templates, &now.Templates, &later.Templates)
	for _, c := range p.state.Counters {
		if p.has(c.Service(), c.Server) {
			now.Counters = append(now.Counters, c)
		} else {
			later.Counters = append(later.Counters, c)
		}
	}
	p.state = later
	p.engine.Restore(now)
}

func (p *Plane) serves(k ipvs.ServiceKey) bool { return p.services[k] != nil }

// has reports whether a service has a server, or, without one, is there.
func (p *Plane) has(k ipvs.ServiceKey, server netip.AddrPort) bool {
	s := p.services[k]
	if s == nil || !server.IsValid() {
		return s != nil
	}
	return slices.ContainsFunc(s.Destinations, func(d ipvs.Destination) bool {
		return d.Addr == server || (d.Addr.Port() == 0 || k.FWMark != 0 || k.Addr.Port() == 0) && d.Addr.Addr() == server.Addr()
	})
}
