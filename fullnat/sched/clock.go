package sched

import (
	"math"
	"time"
)

// never is later than every time.
const never time.Duration = math.MaxInt64

func clamp(now time.Duration) time.Duration { return min(now, never-1) }

func after(t, d time.Duration) time.Duration {
	if t > never-d {
		return never
	}
	return t + d
}

// Advance tells the Service how late it is and does what was due in between, in
// the order of time: templates end, caches forget, deleted servers go. Every
// method that takes a time does it first, so Advance itself is needed only for
// memory to be given back while nothing else happens.
func (s *Service) Advance(now time.Duration) {
	now = clamp(now)
	for s.next <= now {
		s.now = max(s.now, s.next)
		s.next = never
		s.wake(s.templates.expire(s.now))
		s.wake(s.collectTrash())
		if c, ok := s.scheduler.(collector); ok {
			s.wake(c.collect())
		}
	}
	s.now = max(s.now, now)
}

// wake sees to it that timers are looked at when it is t.
func (s *Service) wake(t time.Duration) { s.next = min(s.next, t) }
