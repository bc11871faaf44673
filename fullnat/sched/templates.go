package sched

import (
	"iter"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Template is what a service remembers of the clients of one network: the
// server they go to.
type Template struct {
	Client  netip.Addr // of the client under the service's netmask
	Server  *Server
	Expires time.Duration // from now; a template with connections gets a minute more
}

// Templates goes through the service's persistence templates, in no order. The
// Service must not be used meanwhile.
func (s *Service) Templates(now time.Duration) iter.Seq[Template] {
	s.Advance(now)
	return func(yield func(Template) bool) {
		for key, t := range s.templates.byKey {
			a := netip.AddrFrom16(key)
			if s.family == ipvs.IPv4 {
				a = a.Unmap()
			}
			if !yield(Template{Client: a, Server: t.server, Expires: max(t.deadline-s.now, 0)}) {
				return
			}
		}
	}
}

// Restore puts a template back that another Service had. It changes nothing
// when the server is not in service, the service is not persistent, or clients
// of the network were here already.
func (s *Service) Restore(now time.Duration, client netip.Addr, server netip.AddrPort, expires time.Duration) {
	s.Advance(now)
	d := s.Server(server)
	if d == nil || s.config.Flags&ipvs.Persistent == 0 || expires <= 0 {
		return
	}
	key := mask(client, s.family, s.config.Netmask)
	if s.templates.byKey[key] != nil {
		return
	}
	t := s.templates.add(s.now, key, d, expires)
	t.timeout = s.config.Timeout // from its next connection on
	s.wake(t.due)
}
