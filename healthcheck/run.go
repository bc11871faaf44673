package healthcheck

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// lateAfter is from when on a check counts as late.
const lateAfter = 250 * time.Millisecond

// tick is by how much checks may begin before their time, or a tenth of their
// interval if that is less: those that are due within it begin together, so that
// hundreds of them a second do not wake the process as often. To wake up costs
// more than many checks do.
const tick = 200 * time.Millisecond

// leastWait is the least time between two looks at what is over, and the tick of
// first checks, which are to be spread over a short time.
const leastWait = 20 * time.Millisecond

func (j *job) tick() time.Duration {
	most := tick
	if j.checks == 0 {
		most = leastWait
	}
	return min(most, j.key.schedule.Interval/10, j.key.schedule.FastInterval/10)
}

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

// start begins the checks that are due, and returns the time until
// there is something to do. It looks at the clock once for each batch: where that is
// a system call it costs as much as a check.
func (r *Runner) start(ctx context.Context) time.Duration {
	company, now := time.Duration(0), time.Now()
	for {
		connects, wait := r.due(ctx, &now, &company)
		if len(connects) == 0 {
			if end := r.connector.expire(now); end > 0 {
				wait = min(wait, end)
			}
			return wait
		}
		if r.connector == nil {
			r.connector = r.newConnector(ctx)
		}
		if r.connector != nil {
			now = r.connector.begin(connects)
			continue
		}
		for _, a := range connects { // one by one, to fail as they must
			r.launch(ctx, a.job, a.check)
		}
	}
}

// newConnector returns nil when there is none to be had, for want of files.
func (r *Runner) newConnector(ctx context.Context) *connector {
	c, err := newConnector(ctx, r)
	if err != nil {
		return nil
	}
	return c
}

// due begins the checks that are due, and for company of one that has begun those
// that are due within both their ticks: but for up to a batch of connect checks,
// which it returns, or else the time until the next. A first check, for whose
// result somebody waits, so has less company than others. company is the longest
// tick of those that have begun.
func (r *Runner) due(ctx context.Context, now *time.Time, company *time.Duration) (connects []*attempt, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.wake: // what it wanted to be seen is seen now
	default:
	}
	for len(r.queue) > 0 && len(connects) < batch {
		wait := r.queue[0].due.Sub(*now)
		if wait > 0 && wait > min(*company, r.queue[0].tick()) {
			return connects, wait
		}
		if r.stats.InFlight >= r.options.InFlight {
			break // the end of a check wakes us
		}
		j := r.queue.next()
		*company = max(*company, j.tick())
		r.count(j, *now)
		if a := j.attempt(); a != nil {
			connects = append(connects, a)
			continue
		}
		r.launch(ctx, j, j.prepared)
		*now = time.Now()
	}
	return connects, idle
}

// count enters that a check begins.
func (r *Runner) count(j *job, now time.Time) {
	lag := now.Sub(j.due)
	r.stats.Lag.add(lag)
	if lag > lateAfter {
		r.stats.Late++
	}
	r.stats.InFlight++
	j.running, j.began = true, now
}

func (r *Runner) launch(ctx context.Context, j *job, p *prepared) {
	r.running.Go(func() {
		once, cancel := context.WithTimeout(ctx, j.key.schedule.Timeout)
		defer cancel()
		res := p.run(once, j.key.target)
		r.finish(ctx, time.Now(), []*job{j}, func(*job) Result { return res })
	})
}

// finish enters the results of checks that ended now, and plans the next.
func (r *Runner) finish(ctx context.Context, now time.Time, jobs []*job, result func(*job) Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := r.stats.InFlight >= r.options.InFlight
	r.stats.InFlight -= len(jobs)
	r.stats.Checks += uint64(len(jobs))
	if full {
		r.poke()
	}
	for _, j := range jobs {
		j.running = false
		if !j.gone && ctx.Err() == nil {
			r.enter(j, result(j), now)
		}
	}
}

// enter takes the result of one check.
func (r *Runner) enter(j *job, res Result, now time.Time) {
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
	r.plan(j, now)
}

// plan puts a job back into the queue, at the next point of its grid, or soon
// after a first failure. A check that came early, by jitter or for company, was
// that point's; points that passed while it ran are left out, but for one that
// passed just now: a server that takes all of its timeout is asked again each
// interval, also when these are equal.
func (r *Runner) plan(j *job, now time.Time) {
	s := j.key.schedule
	at := later(j.began, j.due)
	for !at.Before(j.grid.Add(-s.mostEarly())) {
		j.grid = j.grid.Add(s.Interval)
	}
	for j.grid.Add(j.tick()).Before(now) {
		j.grid = j.grid.Add(s.Interval)
		r.stats.Skipped++
	}
	j.due = j.grid.Add(-s.early())
	if j.health.pending() {
		j.due = earlier(j.due, j.began.Add(s.FastInterval))
	}
	if j.due.Before(now) {
		j.due = now
	}
	r.queue.add(j)
	if j.index == 0 {
		r.poke()
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
