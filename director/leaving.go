package director

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// forever is the patience with a drained server without a deadline.
const forever = time.Duration(1<<63 - 1)

// A limit is how long a destination that leaves may stay for the sake of its
// connections: until a time or, where that is zero, for some time from when it
// began to leave.
type limit struct {
	by    time.Time
	after time.Duration
}

// over reports whether one that began to leave at a time has to go.
func (l limit) over(now, since time.Time) bool {
	if !l.by.IsZero() {
		return !now.Before(l.by)
	}
	return now.Sub(since) >= l.after
}

// A Leave is that of a destination from the table. Both times are of day: a restart
// does not put the end off.
type Leave struct {
	Since time.Time
	Until time.Time // zero: until its connections are over
}

// until is when one that began to leave at a time has to go, zero for never.
func (l limit) until(since time.Time) time.Time {
	switch {
	case !l.by.IsZero():
		return l.by
	case l.after == forever:
		return time.Time{}
	}
	return since.Add(l.after)
}

// leave takes note of a destination on its way out.
func (m *Memory) leave(a netip.AddrPort, l Leave) {
	if m.Leaving == nil {
		m.Leaving = make(map[netip.AddrPort]Leave)
	}
	m.Leaving[a] = l
}

// recall takes over a leave of the last run. A clock that was set back meanwhile
// gives it no more than it was given.
func (m *Memory) recall(now time.Time, a netip.AddrPort, l Leave) {
	if l.Since.After(now) {
		if !l.Until.IsZero() {
			l.Until = now.Add(l.Until.Sub(l.Since))
		}
		l.Since = now
	}
	m.leave(a, l)
}

// patience is how long it may take in all.
func (l Leave) patience() time.Duration {
	if l.Until.IsZero() {
		return forever
	}
	return l.Until.Sub(l.Since)
}

// stays reports whether a destination that nobody wants any more is to stay for
// the sake of its connections, and remembers since when it is leaving. What
// makes it unwanted does not matter: the file, a verdict, an operator, somebody
// else's hand. So a daemon that was killed in the middle of a drain goes on
// with it after its restart. It gets weight 0 first and is looked at again then:
// a connection may begin while one looks.
func (m *Memory) stays(now time.Time, v *VirtualService, d *ipvs.DestinationInfo, l limit) bool {
	if l.over(now, now) || d.Weight == 0 && idle(v.Service.Protocol, d) {
		delete(m.Leaving, d.Addr)
		return false
	}
	since := now
	if old, known := m.Leaving[d.Addr]; known {
		since = old.Since
	}
	m.leave(d.Addr, Leave{since, l.until(since)})
	return !l.over(now, since)
}

// idle reports whether a destination has no connections worth waiting for.
// Inactive ones of TCP are over (FIN_WAIT, TIME_WAIT); UDP has no others, and
// they end by a timeout, so that a steady client keeps them until the deadline.
func idle(p ipvs.Protocol, d *ipvs.DestinationInfo) bool {
	if p == ipvs.UDP || p == 0 {
		return d.Active == 0 && d.Inactive == 0
	}
	return d.Active == 0
}

// forget drops what the kernel no longer has from Leaving.
func (m *Memory) forget(have []ipvs.DestinationInfo) {
	if len(m.Leaving) == 0 {
		return
	}
	there := make(map[netip.AddrPort]bool, len(have))
	for i := range have {
		there[have[i].Addr] = true
	}
	for a := range m.Leaving {
		if !there[a] {
			delete(m.Leaving, a)
		}
	}
}
