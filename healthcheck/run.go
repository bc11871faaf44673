package healthcheck

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// lateAfter is from when on a check counts as late.
const lateAfter = 250 * time.Millisecond

// tick is the least time between two starts: checks that are due in one tick
// begin together, so that hundreds of them a second do not wake the process as
// often.
const tick = 20 * time.Millisecond

// idle is how long the runner sleeps when it has nothing to do.
const idle = time.Hour

// Stats count what a [Runner] did.
type Stats struct {
	Subjects int    `json:"subjects"`
	Jobs     int    `json:"jobs"` // different checks
	InFlight int    `json:"in_flight"`
	Checks   uint64 `json:"checks"`  // ended
	Late     uint64 `json:"late"`    // begun more than 250 ms after their time
	Skipped  uint64 `json:"skipped"` // left out, as the one before still ran
	Lag      Lag    `json:"lag"`
}

// Stats returns the counts so far.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Subjects, s.Jobs = len(r.subjects), len(r.jobs)
	return s
}

// defaultInFlight leaves half of the files to others.
func defaultInFlight() int {
	const most, reserved = 4096, 128
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 2*most+reserved {
		return most
	}
	return max(8, (int(limit.Cur)-reserved)/2)
}

// start begins the checks that are due, and returns the time until the next.
func (r *Runner) start(ctx context.Context) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		now := time.Now()
		if wait := r.queue[0].due.Sub(now); wait > 0 {
			return max(wait, tick)
		}
		if r.stats.InFlight >= r.options.InFlight {
			break // the end of a check wakes us
		}
		r.launch(ctx, r.queue.next(), now)
	}
	return idle
}

func (r *Runner) launch(ctx context.Context, j *job, now time.Time) {
	lag := now.Sub(j.due)
	r.stats.Lag.add(lag)
	if lag > lateAfter {
		r.stats.Late++
	}
	r.stats.InFlight++
	j.running = true
	p := j.prepared
	r.running.Go(func() {
		once, cancel := context.WithTimeout(ctx, j.key.schedule.Timeout)
		defer cancel()
		r.finish(ctx, j, p.run(once, j.key.target), now)
	})
}

// finish enters the result of a check and plans the next.
func (r *Runner) finish(ctx context.Context, j *job, res Result, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	full := r.stats.InFlight >= r.options.InFlight
	r.stats.InFlight--
	r.stats.Checks++
	j.running = false
	if full {
		r.poke()
	}
	if j.gone || ctx.Err() != nil {
		return
	}
	j.checks++
	j.checked, j.took, j.transcript = now, res.Took, res.Transcript
	changed := j.health.take(res, j.key.schedule, now) || j.checks == 1
	for _, s := range j.subjects {
		if changed {
			r.tell(s.id)
		}
		if r.options.Done != nil {
			r.options.Done(s.id, res)
		}
	}
	r.plan(j, began, now)
}

// plan puts a job back into the queue, at the next point of its grid, or soon
// after a first failure. A check that came early by jitter was that point's;
// points that passed while it ran are left out.
func (r *Runner) plan(j *job, began, now time.Time) {
	s := j.key.schedule
	for !began.Before(j.grid.Add(-s.mostEarly())) {
		j.grid = j.grid.Add(s.Interval)
	}
	for j.grid.Before(now) {
		j.grid = j.grid.Add(s.Interval)
		r.stats.Skipped++
	}
	j.due = j.grid.Add(-s.early())
	if j.health.pending() {
		j.due = earlier(j.due, began.Add(s.FastInterval))
	}
	if j.due.Before(now) {
		j.due = now
	}
	r.queue.add(j)
	if j.index == 0 {
		r.poke()
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
