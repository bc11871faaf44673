package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"time"
)

// Options of a [Runner]; the zero value works.
type Options struct {
	InFlight int           // checks at the same time; 0: 4096, or fewer if files are few
	Spread   time.Duration // the first checks are spread over this time; 0, or longer than the interval: over the interval
	// Apart is how far apart the first checks are of subjects that come in
	// together, so that few of them begin sooner than Spread says; 0: over Spread.
	Apart time.Duration
	// Done, if not nil, is told of every result, from many goroutines at once.
	// It must not block and not call the runner.
	Done func(id string, r Result)
}

// A Runner makes checks again and again, each at its own time, and turns their
// results into verdicts. Checks that are equal are made once for all of their
// subjects. Its methods may be called from any goroutine, before, while and
// after it runs.
type Runner struct {
	options Options
	wake    chan struct{} // something may be due sooner than the timer says
	changed chan struct{} // Take has something to give

	mu       sync.Mutex
	subjects map[string]*subject
	jobs     map[jobKey]*job
	queue    queue
	news     map[string]struct{} // subjects changed since the last Take
	stats    Stats
	running  sync.WaitGroup

	connector *connector // Run's; nil: not needed yet
}

// NewRunner returns a runner with nothing to check.
func NewRunner(o Options) *Runner {
	if o.InFlight == 0 {
		o.InFlight = defaultInFlight()
	}
	return &Runner{
		options:  o,
		wake:     make(chan struct{}, 1),
		changed:  make(chan struct{}, 1),
		subjects: make(map[string]*subject),
		jobs:     make(map[jobKey]*job),
		news:     make(map[string]struct{}),
	}
}

// Run makes the checks until ctx ends, and returns when the last one has ended.
func (r *Runner) Run(ctx context.Context) {
	defer r.running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.connector.close()
			return
		case <-timer.C:
		case <-r.wake:
		}
		timer.Reset(r.start(ctx))
	}
}

// Changed is ready when [Runner.Take] has something to give.
func (r *Runner) Changed() <-chan struct{} { return r.changed }

// Take returns what became of the subjects whose verdict or warning changed
// since the last call, or that were looked at for the first time. However long nobody calls, checks go on and nothing
// piles up.
func (r *Runner) Take() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Status, 0, len(r.news))
	for id := range r.news {
		if s, ok := r.subjects[id]; ok {
			out = append(out, s.status())
		}
	}
	clear(r.news)
	return out
}

// Status returns what is known of one subject.
func (r *Runner) Status(id string) (Status, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.subjects[id]
	if !ok {
		return Status{}, false
	}
	return s.status(), true
}

// Statuses returns what is known of every subject, in no order.
func (r *Runner) Statuses() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Status, 0, len(r.subjects))
	for _, s := range r.subjects {
		out = append(out, s.status())
	}
	return out
}

// Replace makes the subjects the ones that are checked: new ones begin, others
// end, and those whose ID stays keep what is known of them, also when their
// check is another one now. Files that checks name are read anew. On an error
// nothing changes.
func (r *Runner) Replace(subjects []Subject) error {
	return r.update(pointers(subjects), len(subjects), true)
}

// ReplaceAll is Replace of n subjects that are in something larger.
func (r *Runner) ReplaceAll(n int, subjects iter.Seq[*Subject]) error {
	return r.update(subjects, n, true)
}

// Add adds subjects or replaces those of the same ID. On an error nothing changes.
func (r *Runner) Add(subjects ...Subject) error {
	return r.update(pointers(subjects), len(subjects), false)
}

func pointers(list []Subject) iter.Seq[*Subject] {
	return func(yield func(*Subject) bool) {
		for i := range list {
			if !yield(&list[i]) {
				return
			}
		}
	}
}

// Remove ends the checks of these subjects.
func (r *Runner) Remove(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.detach(id)
	}
}

func (r *Runner) update(subjects iter.Seq[*Subject], n int, only bool) error {
	list, err := prepareAll(subjects, n)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	spread := r.spread(list)
	for i := range list {
		r.attach(&list[i], now, spread)
	}
	if only && len(r.subjects) > len(list) {
		stay := make(map[string]bool, len(list))
		for i := range list {
			stay[list[i].ID] = true
		}
		for id := range r.subjects {
			if !stay[id] {
				r.detach(id)
			}
		}
	}
	r.poke()
	return nil
}

// planned is a subject whose check is ready to be made.
type planned struct {
	*Subject
	key   jobKey
	check *prepared
}

// prepareAll prepares each subject's check, equal ones once, or returns all that
// is wrong with them.
func prepareAll(subjects iter.Seq[*Subject], n int) ([]planned, error) {
	list := make([]planned, 0, n)
	ready := make(map[Key]*prepared)
	seen := make(map[string]bool, n)
	var wrong []error
	for s := range subjects {
		p, err := prepareOne(s, ready)
		if err == nil && seen[s.ID] {
			err = errors.New("twice in the list")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", s.ID, err))
		}
		list = append(list, p)
		seen[s.ID] = true
	}
	return list, errors.Join(wrong...)
}

func prepareOne(s *Subject, ready map[Key]*prepared) (p planned, err error) {
	if err := s.Schedule.validate(); err != nil {
		return p, err
	}
	p = planned{Subject: s, key: jobKey{target: s.Target, schedule: s.Schedule.withDefaults()}}
	if s.Probe != nil {
		p.check, p.key.id = foreign(s.Probe), s.ID
		return p, nil
	}
	p.key.check = s.Check.Key()
	if p.check = ready[p.key.check]; p.check == nil {
		if p.check, err = prepareCheck(s.Check); err != nil {
			return p, err
		}
		ready[p.key.check] = p.check
	}
	p.key.target = s.Target.seen(&s.Check, kinds[s.Check.Type])
	return p, nil
}

// attach gives a subject its job: an equal one that runs already, or a new one.
func (r *Runner) attach(s *planned, now time.Time, spread time.Duration) {
	old := r.subjects[s.ID]
	if old != nil && old.job.key == s.key {
		old.job.prepared = s.check
		return
	}
	j := r.jobs[s.key]
	if j == nil {
		j = &job{key: s.key, index: -1}
		j.health.since = now
		if old != nil {
			j.health.inherit(old.job.health)
		} else if s.Known != Unknown {
			j.health.inherit(health{verdict: s.Known, known: s.Known, since: now, settled: true})
		}
		r.begin(j, now, spread)
	}
	j.prepared = s.check
	n := &subject{id: s.ID, job: j, start: s.Start}
	if old != nil {
		n.start = old.start
		r.leave(old)
	}
	r.subjects[s.ID] = n
	j.subjects = append(j.subjects, n)
	if _, known := j.health.seenFrom(n.start); known != Unknown {
		r.tell(s.ID)
	}
}

// spread is the time over which the first checks are made of those jobs that
// are new.
func (r *Runner) spread(list []planned) time.Duration {
	spread := or(r.options.Spread, math.MaxInt64)
	if r.options.Apart == 0 {
		return spread
	}
	n := 0
	for i := range list {
		if r.jobs[list[i].key] == nil {
			n++
		}
	}
	return min(spread, time.Duration(n)*r.options.Apart)
}

// begin plans the first check of a job.
func (r *Runner) begin(j *job, now time.Time, spread time.Duration) {
	interval := j.key.schedule.Interval
	at := phase(j.key)
	j.due = now.Add(time.Duration(at * float64(min(spread, interval))))
	j.grid = now.Add(time.Duration(at * float64(interval)))
	r.jobs[j.key] = j
	r.queue.add(j)
}

func (r *Runner) detach(id string) {
	if s, ok := r.subjects[id]; ok {
		r.leave(s)
		delete(r.subjects, id)
		delete(r.news, id)
	}
}

// leave takes a subject from its job, which ends with its last subject.
func (r *Runner) leave(s *subject) {
	j := s.job
	for i, other := range j.subjects {
		if other == s {
			j.subjects = append(j.subjects[:i], j.subjects[i+1:]...)
			break
		}
	}
	if len(j.subjects) > 0 {
		return
	}
	j.gone = true
	delete(r.jobs, j.key)
	if j.index >= 0 {
		r.queue.remove(j)
	}
}

func (r *Runner) poke() { signal(r.wake) }

func (r *Runner) tell(id string) {
	r.news[id] = struct{}{}
	signal(r.changed)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
