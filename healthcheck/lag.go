package healthcheck

import (
	"slices"
	"time"
)

// lagBounds are the upper bounds of the classes of a [Lag]; the last is open.
var lagBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second,
}

// A Lag counts by how much checks began after their time.
type Lag struct {
	Counts [len(lagBounds) + 1]uint64 `json:"counts"` // by the classes of LagBounds, and beyond
	Most   time.Duration              `json:"most_ns"`
	Sum    time.Duration              `json:"sum_ns"`
}

// LagBounds returns the upper bounds of a Lag's classes; the last class has none.
func LagBounds() []time.Duration { return slices.Clone(lagBounds[:]) }

func (l *Lag) add(d time.Duration) {
	d = max(d, 0)
	at, _ := slices.BinarySearch(lagBounds[:], d)
	l.Counts[at]++
	l.Most = max(l.Most, d)
	l.Sum += d
}

// Quantile returns a bound that this share of the checks did not exceed.
func (l *Lag) Quantile(share float64) time.Duration {
	var all, sofar uint64
	for _, n := range l.Counts {
		all += n
	}
	for i, bound := range lagBounds {
		if sofar += l.Counts[i]; float64(sofar) >= share*float64(all) {
			return min(bound, l.Most)
		}
	}
	return l.Most
}
