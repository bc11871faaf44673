package director

import (
	"fmt"
	"time"
)

// Place is where a real server is: what was done about its health.
type Place uint8

// The places: Absent from the table, Quiesced in it at weight 0, In with a
// weight.
const (
	Absent Place = iota
	Quiesced
	In
)

var places = [...]string{Absent: "out", Quiesced: "quiesced", In: "in"}

func (p Place) String() string {
	if int(p) < len(places) {
		return places[p]
	}
	return fmt.Sprint(uint8(p))
}

// Cause is the rule that put a server where it is.
type Cause string

// The causes.
const (
	CauseHealthy     Cause = "healthy"
	CauseFailed      Cause = "failed"
	CauseUnchecked   Cause = "unchecked"
	CauseAdopted     Cause = "adopted"
	CauseHeld        Cause = "held"
	CauseDrain       Cause = "drain"
	CauseMaintain    Cause = "maintain"
	CauseMaintenance Cause = "maintenance_file"
	CauseQuorum      Cause = "quorum"
	CauseSlowStart   Cause = "slow_start"
	CauseDynamic     Cause = "dynamic_weight"
)

// A Standing is where one real server stands in a Decision.
type Standing struct {
	Place  Place
	Weight int32 // in the kernel
	Cause  Cause

	full  int32 // its weight after the ramp, what counts for the quorum
	leave limit // for its connections, should it be removed
}

// stand applies the rules of the package's comment to one server.
func stand(now time.Time, v *VirtualService, r *RealServer, s *Server) Standing {
	if s.Override.active(now) {
		switch s.Override.Kind {
		case Drain:
			return Standing{Place: Absent, Cause: CauseDrain, leave: s.Override.limit(now)}
		case Maintain:
			return out(v, CauseMaintain)
		}
	}
	if s.Maintenance != "" {
		return out(v, CauseMaintenance)
	}
	switch {
	case s.Health == Up:
		return in(now, v, r, s, CauseHealthy)
	case s.Health == Down && s.Held:
		return in(now, v, r, s, CauseHeld)
	case s.Health == Down:
		return out(v, CauseFailed)
	case s.AdoptedIn:
		return in(now, v, r, s, CauseAdopted)
	case s.Adopted:
		return Standing{Place: Quiesced, Cause: CauseAdopted, leave: limit{after: v.Drain}}
	case v.UncheckedUp:
		return in(now, v, r, s, CauseUnchecked)
	}
	return Standing{Place: Absent, Cause: CauseUnchecked, leave: limit{after: v.Drain}}
}

// out is where a server goes that is not to get new connections.
func out(v *VirtualService, why Cause) Standing {
	s := Standing{Place: Absent, Cause: why, leave: limit{after: v.Drain}}
	if v.Quiescent {
		s.Place = Quiesced
	}
	return s
}

func in(now time.Time, v *VirtualService, r *RealServer, s *Server, why Cause) Standing {
	full := r.Weight
	if s.Weight.Said {
		full = s.Weight.Value
		if why == CauseHealthy {
			why = CauseDynamic
		}
	}
	if s.Override.active(now) && s.Override.Kind == SetWeight {
		full = s.Override.Weight
	}
	st := Standing{Place: In, Weight: ramp(now, full, s.Ramp, v.SlowStart), Cause: why, full: full, leave: limit{after: v.Drain}}
	if st.Weight < full {
		st.Cause = CauseSlowStart
	}
	if st.Weight == 0 {
		st.Place = Quiesced
	}
	return st
}

// ramp is the weight of a server that came back at start and climbs over the
// time d: in proportion to the time passed, at least 1.
func ramp(now time.Time, full int32, start time.Time, d time.Duration) int32 {
	passed := now.Sub(start)
	if start.IsZero() || d <= 0 || passed >= d || full <= 1 {
		return full
	}
	return max(1, int32(float64(full)*(float64(max(passed, 0))/float64(d))))
}

// climbed is when a server began to climb that has got this far by now: what ramp
// needs to go on from there. Zero: it has arrived.
func climbed(now time.Time, weight, full int32, d time.Duration) time.Time {
	if d <= 0 || weight >= full {
		return time.Time{}
	}
	return now.Add(-time.Duration(float64(d) * (float64(weight) + 0.5) / float64(full)))
}

// limit is until when a drained server may stay. The operator's deadline is a
// time of day: a restart does not put it off, and it counts from when it was
// said, not from when the server began to leave. A clock that was set back
// meanwhile gives it no more than it was given.
func (o *Override) limit(now time.Time) limit {
	switch {
	case o.Deadline.IsZero():
		return limit{after: forever}
	case now.Before(o.Since):
		return limit{after: o.Deadline.Sub(o.Since)}
	}
	return limit{by: o.Deadline}
}
