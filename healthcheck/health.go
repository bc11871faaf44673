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
	weight  Weight // of the last success
	settled bool   // a success, or Fall failures: what a subject was taken for at its start is over
}

// take enters a result, and tells whether anything changed that someone must
// act on. Trouble of our own leaves the counters and what was known as they are.
func (h *health) take(r Result, s Schedule, now time.Time) (changed bool) {
	before := *h
	h.reason = r.Err
	switch Judge(r.Err) {
	case Up:
		h.good, h.bad, h.warning, h.weight = h.good+1, 0, r.Warning, r.Weight
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
	h.settled = h.settled || h.good > 0 || h.bad >= s.Fall
	if h.verdict != before.verdict {
		h.since = now
	}
	return h.verdict != before.verdict || h.known != before.known || h.warning != before.warning || h.weight != before.weight || h.settled != before.settled
}

// inherit takes over what is known of a server that is checked in another way
// from now on. What was counted is not: it counted something else.
func (h *health) inherit(old health) {
	h.verdict, h.known, h.since, h.settled = old.verdict, old.known, old.since, old.settled
}

// pending tells whether a failure has begun to count and has not become a
// verdict, be it for a subject that was taken for up at its start.
func (h *health) pending() bool { return h.bad > 0 && (h.known == Up || !h.settled) }

// seenFrom is the verdict for a subject, and the last known one: what it was
// taken for at its start stands until the server is settled. Subjects that
// share a check may differ in this.
func (h *health) seenFrom(start Verdict) (verdict, known Verdict) {
	switch {
	case h.settled || start == Unknown:
		return h.verdict, h.known
	case h.verdict == Unknown && h.reason != nil:
		return Unknown, start
	}
	return start, start
}
