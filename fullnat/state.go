package fullnat

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// State is what would be missed if the next process did not know it: which
// server each client goes to, and what was counted. It is for a file or the next
// process, as JSON.
type State struct {
	At        time.Time      `json:"at"`
	Templates []ClientState  `json:"templates,omitempty"`
	Sessions  []ClientState  `json:"sessions,omitempty"`
	Counters  []CounterState `json:"counters,omitempty"`
}

// CounterState are the counters of a server, or, without one, of a service.
type CounterState struct {
	Protocol ipvs.Protocol  `json:"protocol,omitempty"`
	Mark     uint32         `json:"mark,omitempty"`
	Virtual  netip.AddrPort `json:"virtual"`         // of a firewall mark that as an address
	Server   netip.AddrPort `json:"server,omitzero"` // as configured
	Conns    uint64         `json:"conns,omitempty"`
	InPkts   uint64         `json:"in_pkts,omitempty"`
	OutPkts  uint64         `json:"out_pkts,omitempty"`
	InBytes  uint64         `json:"in_bytes,omitempty"`
	OutBytes uint64         `json:"out_bytes,omitempty"`
}

// ClientState is a persistence template, whose client has port 0, or a UDP
// session.
type ClientState struct {
	Protocol ipvs.Protocol  `json:"protocol,omitempty"`
	Mark     uint32         `json:"mark,omitempty"`
	Virtual  netip.AddrPort `json:"virtual"` // as listed: what the client addressed
	Client   netip.AddrPort `json:"client"`
	Server   netip.AddrPort `json:"server"`
	Expires  time.Duration  `json:"expires"` // after At, in nanoseconds
}

// State is the present one.
func (e *Engine) State() State {
	s := State{At: time.Now()}
	client := func(c Connection) ClientState {
		return ClientState{Protocol: c.Protocol, Mark: c.Service.FWMark, Virtual: c.Virtual, Client: c.Client, Server: c.Destination, Expires: c.Expires}
	}
	for _, c := range e.flows() {
		s.Sessions = append(s.Sessions, client(c))
	}
	for _, c := range e.listTemplates(nil) {
		s.Templates = append(s.Templates, client(c))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range e.keys() {
		svc := e.services[k]
		s.Counters = append(s.Counters, svc.counters()...)
		svc.mu.Lock()
		for who, old := range svc.sessions { // not heard of since our own start
			if d := svc.servers[old.server]; d != nil && old.until.After(s.At) {
				s.Sessions = append(s.Sessions, ClientState{Protocol: ipvs.UDP, Mark: k.FWMark, Virtual: who.virtual, Client: who.client,
					Server: d.connect.addrPort(), Expires: old.until.Sub(s.At)})
			}
		}
		svc.mu.Unlock()
	}
	return s
}

// flows lists UDP sessions.
func (e *Engine) flows() (all []Connection) {
	for _, l := range e.loops {
		for from, more := int32(0), true; more; from += listStep {
			done := make(chan bool, 1)
			if !e.tell(l, func(l *loop) { done <- l.listFlows(from, &all) }) {
				return all
			}
			more = <-done
		}
	}
	return all
}

// counters are what Services shows, without what is too new to have any.
func (svc *service) counters() (all []CounterState) {
	add := func(server netip.AddrPort, s ipvs.Stats) {
		c := CounterState{svc.key.Protocol, svc.key.FWMark, named(svc.key), server, s.Conns, s.InPkts, s.OutPkts, s.InBytes, s.OutBytes}
		if s = c.stats(); s != (ipvs.Stats{}) {
			all = append(all, c)
		}
	}
	info := svc.info(0)
	add(netip.AddrPort{}, info.Stats)
	for i := range info.Destinations {
		add(info.Destinations[i].Addr, info.Destinations[i].Stats)
	}
	return all
}

func (c *CounterState) stats() ipvs.Stats {
	return ipvs.Stats{Conns: c.Conns, InPkts: c.InPkts, OutPkts: c.OutPkts, InBytes: c.InBytes, OutBytes: c.OutBytes}
}

// Restore takes a state over after the first Apply. What does not fit any more
// (the service or server is gone, the time is over) is left out. Counters are
// added to those that there are.
func (e *Engine) Restore(s State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range s.Templates {
		if svc := e.services[t.Service(e.serves)]; svc != nil {
			server := svc.serverAt(t.Server)
			svc.mu.Lock()
			svc.sched.Restore(e.clock(), t.Client.Addr(), server, t.Expires-time.Since(s.At))
			svc.mu.Unlock()
		}
	}
	for _, u := range s.Sessions {
		if svc := e.services[u.Service(e.serves)]; svc != nil {
			svc.remember(sessionKey{u.Client, u.Virtual}, session{svc.serverAt(u.Server), s.At.Add(u.Expires)})
		}
	}
	for i := range s.Counters {
		c := &s.Counters[i]
		if svc := e.services[c.Service()]; svc != nil {
			svc.count(c.Server, c.stats())
		}
	}
}

// count adds to the counters of a server, or of the service itself, which has
// more than its servers when some have gone. Rates are not moved by it.
func (svc *service) count(server netip.AddrPort, s ipvs.Stats) {
	if !server.IsValid() {
		svc.gone = plus(svc.gone, s)
		svc.meter.last = plus(svc.meter.last, s)
	} else if d := svc.servers[server]; d != nil {
		d.shares[0].add(s)
		d.meter.last = plus(d.meter.last, s)
		svc.gone = minus(svc.gone, s) // the service's own line has it, too
	}
}

func (svc *service) remember(who sessionKey, s session) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if svc.sessions == nil {
		svc.sessions = map[sessionKey]session{}
	}
	svc.sessions[who] = s
}

// serverAt is the configured address of the server that connections to an
// address go to: the same, but for the port if that is the virtual one.
func (svc *service) serverAt(a netip.AddrPort) netip.AddrPort {
	like := netip.AddrPort{}
	for addr, d := range svc.servers {
		switch {
		case d.removed:
		case d.connect.addrPort() == a:
			return addr
		case diverted(svc.key) && addr.Addr() == a.Addr():
			like = addr
		}
	}
	return like
}

func (e *Engine) serves(k ipvs.ServiceKey) bool { return e.services[k] != nil }

// Service is the service that the counters are of.
func (c *CounterState) Service() ipvs.ServiceKey { return stateKey(c.Protocol, c.Mark, c.Virtual) }

// Service is the service that the template or session is of: the one that is
// there, as a session of port 0 has the port that the client addressed.
func (c *ClientState) Service(there func(ipvs.ServiceKey) bool) ipvs.ServiceKey {
	k := stateKey(c.Protocol, c.Mark, c.Virtual)
	if all := everyPort(k); k.FWMark == 0 && !there(k) && there(all) {
		return all
	}
	return k
}

func stateKey(p ipvs.Protocol, mark uint32, virtual netip.AddrPort) ipvs.ServiceKey {
	switch {
	case mark == 0:
		return ipvs.AddrService(p, virtual)
	case virtual.Addr().Is4():
		return ipvs.MarkService(mark, ipvs.IPv4)
	}
	return ipvs.MarkService(mark, ipvs.IPv6)
}
