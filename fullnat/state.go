package fullnat

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// State is what clients would notice if the next process did not know it: which
// server each one goes to. It is for a file or the next process, as JSON.
type State struct {
	At        time.Time     `json:"at"`
	Templates []ClientState `json:"templates,omitempty"`
	Sessions  []ClientState `json:"sessions,omitempty"`
}

// ClientState is a persistence template, whose client has port 0, or a UDP
// session.
type ClientState struct {
	Protocol ipvs.Protocol  `json:"protocol"`
	Virtual  netip.AddrPort `json:"virtual"`
	Client   netip.AddrPort `json:"client"`
	Server   netip.AddrPort `json:"server"`
	Expires  time.Duration  `json:"expires"` // after At, in nanoseconds
}

// State is the present one.
func (e *Engine) State() State {
	s := State{At: time.Now()}
	for _, c := range e.Connections() {
		k := ClientState{Protocol: c.Protocol, Virtual: c.Virtual, Client: c.Client, Server: c.Destination, Expires: c.Expires}
		switch {
		case c.Client.Port() == 0:
			s.Templates = append(s.Templates, k)
		case c.Protocol == ipvs.UDP:
			s.Sessions = append(s.Sessions, k)
		}
	}
	return s
}

// Restore takes a state over after the first Apply. What does not fit any more
// (the service or server is gone, the time is over) is left out.
func (e *Engine) Restore(s State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range s.Templates {
		if svc := e.services[ipvs.AddrService(t.Protocol, t.Virtual)]; svc != nil {
			server := svc.serverAt(t.Server)
			svc.mu.Lock()
			svc.sched.Restore(e.clock(), t.Client.Addr(), server, t.Expires-time.Since(s.At))
			svc.mu.Unlock()
		}
	}
	for _, u := range s.Sessions {
		if svc := e.services[ipvs.AddrService(u.Protocol, u.Virtual)]; svc != nil {
			svc.remember(u.Client, session{svc.serverAt(u.Server), s.At.Add(u.Expires)})
		}
	}
}

func (svc *service) remember(client netip.AddrPort, s session) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if svc.sessions == nil {
		svc.sessions = map[addrPort]session{}
	}
	svc.sessions[client] = s
}

// serverAt is the configured address of the server that connections to an
// address go to: the same, but for the port if that is the virtual one.
func (svc *service) serverAt(a netip.AddrPort) netip.AddrPort {
	for addr, d := range svc.servers {
		if !d.removed && d.connect.addrPort() == a {
			return addr
		}
	}
	return netip.AddrPort{}
}
