package sched

import (
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Choice is the server that a new connection goes to, to be given to Bind before
// anything else is done with the Service.
type Choice struct {
	Server   *Server
	template *template // that the connection will hold, nil without persistence
}

// Conn is a connection's hold on its server. The caller keeps it, at one place
// in memory or moved about, but never two copies of it in use. The zero Conn
// holds nothing.
type Conn struct {
	server   *Server
	template *template
	protocol ipvs.Protocol
	state    State
}

// Server is the server that the connection is bound to, nil when there is none.
func (c *Conn) Server() *Server { return c.server }

// State is the state that was last set.
func (c *Conn) State() State { return c.state }

// Choose picks the server for a new connection, or reports false when the
// connection is to be refused. It moves on the scheduler's state and, for a
// persistent service, makes the client's template, whether or not the choice is
// bound. The family of both addresses is the service's. Choose allocates nothing
// but what it has to remember of a new client of a persistent service, or of a
// new virtual address of lblc and lblcr.
//
// Port reuse: when the new connection takes the place of a closed one of the
// same client port, the kernel chooses first and ends the old one after.
func (s *Service) Choose(now time.Duration, client, virtual netip.AddrPort) (Choice, bool) {
	s.Advance(now)
	if s.config.Flags&ipvs.Persistent != 0 {
		return s.choosePersistent(client, virtual)
	}
	d := s.scheduler.choose(client, virtual)
	return Choice{Server: d}, d != nil
}

// ChooseOther picks a server for a connection whose choice turned out not to
// answer: as Choose does, but neither a template nor a server of tried counts.
// The kernel has no such thing.
func (s *Service) ChooseOther(now time.Duration, client, virtual netip.AddrPort, tried []*Server) (Choice, bool) {
	s.Advance(now)
	var was uint64
	for i, d := range tried {
		if d.overloaded {
			was |= 1 << i
		}
		d.overloaded = true
	}
	other := s.scheduler.choose(client, virtual)
	if slices.Contains(tried, other) { // remembered by lblc or lblcr, which do not mind overload
		other = s.leastLoaded()
	}
	for i, d := range slices.Backward(tried) { // a server that is there twice
		d.overloaded = was&(1<<i) != 0
	}
	return Choice{Server: other}, other != nil
}

// Bind counts the connection, as inactive until a state says otherwise, and
// restarts the timer of the client's template. A c that is still bound is ended
// after it. With one-packet scheduling (see [Service.OnePacket]) End follows at
// once.
func (s *Service) Bind(now time.Duration, c *Conn, choice Choice, p ipvs.Protocol) {
	s.Advance(now)
	old := *c
	*c = Conn{server: choice.Server, template: choice.template, protocol: p}
	c.server.inactive++
	c.server.bound()
	if t := c.template; t != nil {
		t.holders++
		t.restart(s.now)
	}
	s.release(&old)
}

// SetState moves the connection to another state, by which it counts as active
// or inactive. Thresholds do not look at that. On a Conn without server it does
// nothing.
func (s *Service) SetState(c *Conn, to State) {
	if c.server == nil {
		return
	}
	was, is := c.state.Active(c.protocol), to.Active(c.protocol)
	c.state = to
	switch {
	case is && !was:
		c.server.active++
		c.server.inactive--
	case was && !is:
		c.server.active--
		c.server.inactive++
	}
}

// End forgets the connection and makes c the zero Conn, which it may be already.
func (s *Service) End(now time.Duration, c *Conn) {
	s.Advance(now)
	s.release(c)
}

func (s *Service) release(c *Conn) {
	d := c.server
	if d == nil {
		return
	}
	if c.state.Active(c.protocol) {
		d.active--
	} else {
		d.inactive--
	}
	d.released()
	if c.template != nil {
		c.template.holders--
	}
	*c = Conn{}
}

// OnePacket tells whether a packet of the protocol is scheduled by itself: the
// kernel then binds and ends a connection within the packet.
func (s *Service) OnePacket(p ipvs.Protocol) bool {
	return s.config.Flags&ipvs.OnePacket != 0 && p == ipvs.UDP
}
