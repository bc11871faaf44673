package healthcheck

import "time"

// health is what the results of one check have made of its server so far.
type health struct {
	verdict Verdict   // now
	known   Verdict   // the last that was up or down; Unknown: never checked
	since   time.Time // of verdict
	good    int       // successes in a row
	bad     int       // failures in a row
	reason  error     // of the last result, nil for a success
	warning string
}

// take enters a result, and tells whether anything changed that someone must
// act on. Trouble of our own leaves the counters and what was known as they are.
func (h *health) take(r Result, s Schedule, now time.Time) (changed bool) {
	before := *h
	h.reason = r.Err
	switch Judge(r.Err) {
	case Up:
		h.good, h.bad, h.warning = h.good+1, 0, r.Warning
		if h.known != Up && (h.known == Unknown || h.good >= s.Rise) {
			h.known = Up
		}
		h.verdict = h.known
	case Down:
		h.good, h.bad = 0, h.bad+1
		if h.known != Down && (h.known == Unknown || h.bad >= s.Fall) {
			h.known = Down
		}
		h.verdict = h.known
	case Unknown:
		h.verdict = Unknown
	}
	if h.verdict != before.verdict {
		h.since = now
	}
	return h.verdict != before.verdict || h.known != before.known || h.warning != before.warning
}

// pending tells whether a failure has begun to count and has not become a verdict.
func (h *health) pending() bool { return h.known == Up && h.bad > 0 }
