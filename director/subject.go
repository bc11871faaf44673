package director

import (
	"net/netip"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

// A Result is what one check of one real server says now, after rise and fall.
type Result struct {
	Server ServerID
	// Index is the check's place in the server's list of checks.
	Index  int
	Health Health // Unchecked when the check cannot tell: our own trouble
	Reason string // why it is not up
	// Warning: healthy, but not for long.
	Warning string
	// Weight is what the check says that the server can bear.
	Weight healthcheck.Weight
}

// checks are the results of a server's checks, by their place.
type checks []Result

// combine makes one verdict of several: all must pass, one failure is enough,
// and as long as one cannot tell and none fails nobody can. Of weights the least
// counts.
func (c checks) combine() Result {
	var unknown *Result
	var weight healthcheck.Weight
	for i := range c {
		if w := c[i].Weight; w.Said && (!weight.Said || w.Value < weight.Value) {
			weight = w
		}
		switch c[i].Health {
		case Down:
			return c[i]
		case Unchecked:
			if unknown == nil {
				unknown = &c[i]
			}
		}
	}
	if unknown != nil {
		return *unknown
	}
	if len(c) == 0 {
		return Result{}
	}
	return Result{Server: c[0].Server, Health: Up, Weight: weight}
}

// A Subject is one check of one real server: what the runner is to do, and what
// its results are about.
type Subject struct {
	Server ServerID
	Index  int // the check's place in the server's list of checks
	healthcheck.Subject
}

// same reports whether two checks of a service do the same.
func (s *Subject) same(o *Subject) bool {
	return s.Server == o.Server && s.Index == o.Index && s.Target == o.Target && s.Schedule == o.Schedule && s.Check.Equal(o.Check)
}

// checkedBy are the checks of each service.
func (s *Setup) checkedBy() map[ipvs.ServiceKey][]*Subject {
	m := make(map[ipvs.ServiceKey][]*Subject, len(s.Services))
	for i := range s.Subjects {
		c := &s.Subjects[i]
		m[c.Server.Service] = append(m[c.Server.Service], c)
	}
	return m
}

// checkCounts are how many checks each server has.
func (s *Setup) checkCounts() map[ipvs.ServiceKey]map[netip.AddrPort]int {
	m := make(map[ipvs.ServiceKey]map[netip.AddrPort]int)
	for i := range s.Subjects {
		id := s.Subjects[i].Server
		if m[id.Service] == nil {
			m[id.Service] = make(map[netip.AddrPort]int)
		}
		m[id.Service][id.Addr]++
	}
	return m
}
