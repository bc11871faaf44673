package healthcheck

import (
	"container/heap"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"time"
)

// A Schedule says how often a check is made and how many results in a row make
// a verdict. The first result of a server never checked is its verdict.
type Schedule struct {
	Interval     time.Duration // from the start of one check to the start of the next; 0: 10 s
	Timeout      time.Duration // absolute deadline of one check; 0: 5 s
	FastInterval time.Duration // Interval between a first failure and the verdict; 0: Interval
	Rise         int           // successes in a row until up; 0: 1
	Fall         int           // failures in a row until down; 0: 1
	Jitter       float64       // share of Interval by which a check may come early, 0 to 1
}

func (s Schedule) withDefaults() Schedule {
	s.Interval = or(s.Interval, 10*time.Second)
	s.Timeout = or(s.Timeout, 5*time.Second)
	s.FastInterval = or(s.FastInterval, s.Interval)
	s.Rise = or(s.Rise, 1)
	s.Fall = or(s.Fall, 1)
	return s
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

func (s Schedule) validate() error {
	if s.Interval < 0 || s.Timeout < 0 || s.FastInterval < 0 || s.Rise < 0 || s.Fall < 0 {
		return fmt.Errorf("check schedule %+v: negative", s)
	}
	if s.Jitter < 0 || s.Jitter > 1 {
		return fmt.Errorf("check schedule: jitter %v is not between 0 and 1", s.Jitter)
	}
	return nil
}

// early is by how much the next check comes before its time, at random, so that
// servers which fail together are not asked together for ever.
func (s Schedule) early() time.Duration {
	return time.Duration(rand.Float64() * float64(s.mostEarly()))
}

// mostEarly is less than an interval: a check in time is not the next one, come
// early.
func (s Schedule) mostEarly() time.Duration { return time.Duration(s.Jitter * float64(s.Interval-1)) }

// phase is where in its interval a check lies, from 0 to 1: spread evenly over
// all checks of all services, and not moved by a reload.
func phase(key jobKey) float64 {
	return float64(maphash.Comparable(seed, key)>>11) / (1 << 53)
}

var seed = maphash.MakeSeed()

// queue holds the jobs that wait for their time, the next one first.
type queue []*job

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push and Pop are container/heap's.
func (q *queue) Push(x any) {
	j := x.(*job)
	j.index = len(*q)
	*q = append(*q, j)
}

// Pop takes the last one.
func (q *queue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	j.index = -1
	return j
}

func (q *queue) add(j *job)    { heap.Push(q, j) }
func (q *queue) next() *job    { return heap.Pop(q).(*job) }
func (q *queue) remove(j *job) { heap.Remove(q, j.index) }
