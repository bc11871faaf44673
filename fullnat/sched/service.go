package sched

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Settings are what choices depend on beside the service: variables of
// net.ipv4.vs, and in one point the kernel's version. Services may
// share one Settings, as those of a network namespace do; a change of it counts
// from then on. The zero value is the defaults of Linux 6.1.176.
type Settings struct {
	// ExpireQuiescentTemplate: a template does not lead to a server of weight 0.
	ExpireQuiescentTemplate bool
	// PromptThresholds: a new threshold of a server counts at once, as in
	// Linux 6.1.192 and others of late 2026 (ip_vs_dest_update_overload). The
	// kernels before, 6.1.176 among them, look at a lowered upper threshold
	// with the next connection, and at a raised lower one when one ends. This
	// is the kernel's version, not one of its variables.
	PromptThresholds bool
	// LBLCExpiration and LBLCRExpiration are how long lblc and lblcr remember a
	// virtual address that is not asked for, and lblcr a set of servers that did
	// not change. 0 is 24 hours.
	LBLCExpiration, LBLCRExpiration time.Duration
}

// Service is one virtual service as its scheduler sees it. [New] makes one.
//
// Times are durations since any one instant, the same for all calls; when they
// go backwards, time stands still. A long pause is caught up in steps of a
// minute. Names in errors are ipvs' sentinels
// (ErrExists, ErrNoDestination, ErrNoScheduler, ErrRange, ErrInvalid).
//
// A Service is not safe for concurrent use. Choose and Bind belong together: who
// shares a Service holds one lock over both.
type Service struct {
	config   ipvs.Service
	family   ipvs.Family
	settings *Settings

	scheduler scheduler
	list      []*Server                  // newest first, as the kernel's
	servers   map[netip.AddrPort]*Server // those of list and those in the trash
	templates templates

	now, next time.Duration // next is not after the next timer
	trashed   int
	trashNext time.Duration
}

// New makes a service without servers, as "ipvsadm -A" does. A service that the
// kernel has already is copied by adding its servers in reverse order of the
// kernel's listing; what its scheduler did before cannot be seen. A nil Settings
// is the defaults.
func New(now time.Duration, c ipvs.Service, settings *Settings) (*Service, error) {
	if settings == nil {
		settings = &Settings{}
	}
	s := &Service{
		config: c, family: c.AF(), settings: settings,
		servers: map[netip.AddrPort]*Server{}, now: clamp(now), next: never, trashNext: never,
	}
	if err := s.schedule(c.Scheduler); err != nil {
		return nil, fmt.Errorf("sched: add service %s %s: %w", c.ServiceKey, c.Scheduler, err)
	}
	return s, nil
}

// Config is the service as it was configured last.
func (s *Service) Config() ipvs.Service { return s.config }

// Update changes all properties but the key, which is not read. The same
// scheduler keeps its state; another one starts anew on the present servers.
// Templates keep the timeout they were made with.
func (s *Service) Update(now time.Duration, c ipvs.Service) error {
	s.Advance(now)
	if c.Scheduler != s.config.Scheduler {
		if err := s.schedule(c.Scheduler); err != nil {
			return fmt.Errorf("sched: update service %s %s: %w", s.config.ServiceKey, c.Scheduler, err)
		}
	}
	c.ServiceKey = s.config.ServiceKey
	s.config = c
	return nil
}

// AddServer puts a new server at the head of the list. One that was deleted, and
// that something still refers to or did a short time ago, comes back with its
// connections and its overload flag (ip_vs_trash_get_dest).
func (s *Service) AddServer(now time.Duration, c ipvs.Destination) error {
	s.Advance(now)
	d := s.servers[c.Addr]
	err := check(c)
	switch {
	case err != nil:
	case d != nil && d.available:
		err = ipvs.ErrExists
	case len(s.list) >= s.scheduler.limit():
		err = fmt.Errorf("%w: %s takes %d servers", ipvs.ErrInvalid, s.config.Scheduler, len(s.list))
	}
	if err != nil {
		return fmt.Errorf("sched: add server %s: %w", c.Addr, err)
	}
	if d == nil {
		d = &Server{settings: s.settings}
		s.servers[c.Addr] = d
	} else {
		s.trashed--
	}
	d.configure(c, true)
	d.available = true
	s.list = slices.Insert(s.list, 0, d)
	s.scheduler.added()
	return nil
}

// UpdateServer changes all properties but the address; the server keeps its
// place in the list.
func (s *Service) UpdateServer(now time.Duration, c ipvs.Destination) error {
	s.Advance(now)
	d := s.servers[c.Addr]
	err := check(c)
	if err == nil && (d == nil || !d.available) {
		err = ipvs.ErrNoDestination
	}
	if err != nil {
		return fmt.Errorf("sched: update server %s: %w", c.Addr, err)
	}
	d.configure(c, false)
	s.scheduler.updated()
	return nil
}

// DeleteServer takes a server out of the list. Its connections stay bound to it
// until they end.
func (s *Service) DeleteServer(now time.Duration, addr netip.AddrPort) error {
	s.Advance(now)
	d := s.servers[addr]
	if d == nil || !d.available {
		return fmt.Errorf("sched: delete server %s: %w", addr, ipvs.ErrNoDestination)
	}
	i := slices.Index(s.list, d)
	s.list = slices.Delete(s.list, i, i+1)
	s.discard(d)
	s.scheduler.deleted(i)
	return nil
}

// Server returns the server of an address, nil when the list has none.
func (s *Service) Server(addr netip.AddrPort) *Server {
	if d := s.servers[addr]; d != nil && d.available {
		return d
	}
	return nil
}

// Servers appends the servers in list order to buf and returns it. They are as
// of the latest time the Service was told.
func (s *Service) Servers(buf []*Server) []*Server { return append(buf, s.list...) }

func check(c ipvs.Destination) error {
	switch {
	case !c.Addr.Addr().IsValid():
		return fmt.Errorf("%w: no address", ipvs.ErrInvalid)
	case c.Weight < 0:
		return fmt.Errorf("%w: weight %d", ipvs.ErrRange, c.Weight)
	case c.Lower > c.Upper:
		return fmt.Errorf("%w: lower threshold %d above upper threshold %d", ipvs.ErrRange, c.Lower, c.Upper)
	}
	return nil
}
