package sched

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// scheduler is a scheduling algorithm with its state for one Service. It is told
// of changes of the list after they were made.
type scheduler interface {
	// choose picks a server for a new connection, nil to refuse it.
	choose(client, virtual netip.AddrPort) *Server
	added()        // list[0] is new
	updated()      // a server's weight or thresholds were set, changed or not
	deleted(i int) // the server at position i is gone
	limit() int    // how many servers it can have
}

// collector is a scheduler that forgets what was not asked for in a while.
type collector interface {
	// collect does what is due and returns when it wants to be called again.
	collect() time.Duration
}

// schedulers makes a scheduler for a service with the servers it has.
var schedulers = map[string]func(*Service) scheduler{
	"rr":    newRR,
	"wrr":   newWRR,
	"lc":    newLC,
	"wlc":   newWLC,
	"sed":   newSED,
	"nq":    newNQ,
	"fo":    newFO,
	"ovf":   newOVF,
	"sh":    newSH,
	"dh":    newDH,
	"mh":    newMH,
	"lblc":  newLBLC,
	"lblcr": newLBLCR,
}

// Names returns the names of the schedulers there are, sorted.
func Names() []string { return slices.Sorted(maps.Keys(schedulers)) }

// schedule gives the service a new scheduler. Nothing changes on an error.
func (s *Service) schedule(name string) error {
	build, ok := schedulers[name]
	if !ok {
		return ipvs.ErrNoScheduler
	}
	next := build(s)
	if len(s.list) > next.limit() {
		return ipvs.ErrInvalid
	}
	if old, ok := s.scheduler.(interface{ close() }); ok {
		old.close()
	}
	s.scheduler = next
	if c, ok := next.(collector); ok {
		s.wake(c.collect())
	}
	return nil
}

// stateless is the part of a scheduler that does not care for changes.
type stateless struct{ *Service }

func (stateless) added()      {}
func (stateless) updated()    {}
func (stateless) deleted(int) {}
func (stateless) limit() int  { return math.MaxInt }
