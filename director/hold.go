package director

import (
	"cmp"
	"iter"
	"time"
)

// Hold guards against the director's own trouble: when nearly all real servers
// of all services fail at once it is more likely us than them, a cable, a route,
// a changed check, and the last state is kept. The zero value holds nothing.
//
// Every failure counts, a refused connection too: a broken roll-out refuses
// everywhere. Where there are fewer than minHold servers a share tells nothing,
// and fallbacks are there for the last one. A hold ends when enough servers are
// back, and at the latest after holdWindows windows: then the failures are
// believed.
type Hold struct {
	// Share of all servers above which failures are held; 1 or more:
	// never.
	Share float64
	// Window is within what time the failures count as one: an interval of
	// checks and their timeout. A server whose checks have others has its own.
	Window time.Duration

	since time.Time // zero: no hold
}

const (
	minHold     = 3
	holdWindows = 10
)

// Active reports whether a hold is on, and since when.
func (h *Hold) Active() (since time.Time, on bool) { return h.since, !h.since.IsZero() }

// Update marks the servers to be held, or frees them, and reports whether it did.
func (h *Hold) Update(now time.Time, all iter.Seq[*Server]) (changed bool) {
	n, failed, held, window := 0, 0, false, time.Duration(0)
	for s := range all {
		n++
		held = held || s.Held
		if h.counts(now, s) {
			failed++
			window = max(window, h.window(s))
		}
	}
	mass := n >= minHold && float64(failed) > h.Share*float64(n)
	_, was := h.Active()
	believed := was && now.Sub(h.since) >= holdWindows*window
	mass = mass && !believed
	if mass || held {
		for s := range all {
			hold := mass && h.counts(now, s)
			changed = changed || hold != s.Held
			s.Held = hold
		}
	}
	switch {
	case mass && !was:
		h.since = now
	case !mass:
		h.since = time.Time{}
	}
	return changed || mass != was
}

// counts reports whether a server's failure is one of those that may be ours: of
// a server that was in, and recent, or held already.
func (h *Hold) counts(now time.Time, s *Server) bool {
	return s.Health == Down && s.Failed && (s.Held || now.Sub(s.Since) <= h.window(s))
}

func (h *Hold) window(s *Server) time.Duration { return cmp.Or(s.Window, h.Window) }
