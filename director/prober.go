package director

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/goipvs/goipvs/healthcheck"
)

// Prober has the subjects of a Director checked by a healthcheck.Runner and
// tells the Director what came of it. Make one with NewProber.
type Prober struct {
	runner *healthcheck.Runner
	log    *slog.Logger
	next   chan []Subject // what is to be checked from now on, the latest

	mu       sync.Mutex          // the runner calls done with its own lock held: it is not asked anything under this one
	subjects map[string]*Subject // of the list that was set last
	// awaited are subjects that the runner takes for up without having looked:
	// their first result is news to us, though not to it.
	awaited map[string]bool
	first   []string // of those, the ones that have a result now
	firsts  chan struct{}
}

// NewProber returns a Prober that checks nothing yet.
func NewProber(o healthcheck.Options, log *slog.Logger) *Prober {
	p := &Prober{log: log, next: make(chan []Subject, 1), awaited: make(map[string]bool), firsts: make(chan struct{}, 1)}
	done := o.Done
	o.Done = func(id string, r healthcheck.Result) {
		p.done(id)
		if done != nil {
			done(id, r)
		}
	}
	p.runner = healthcheck.NewRunner(o)
	return p
}

// done takes note of the first result of an awaited subject.
func (p *Prober) done(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.awaited[id] {
		return
	}
	delete(p.awaited, id)
	p.first = append(p.first, id)
	select {
	case p.firsts <- struct{}{}:
	default:
	}
}

// takeFirst are the states of awaited subjects that have one now.
func (p *Prober) takeFirst() (out []healthcheck.Status) {
	p.mu.Lock()
	ids := p.first
	p.first = nil
	p.mu.Unlock()
	for _, id := range ids {
		if st, ok := p.runner.Status(id); ok {
			out = append(out, st)
		}
	}
	return out
}

// Set says what is to be checked. It does not wait.
func (p *Prober) Set(list []Subject) {
	for {
		select {
		case p.next <- list:
			return
		case <-p.next: // overtaken
		}
	}
}

// Run makes checks until ctx ends and returns when the last has ended.
func (p *Prober) Run(ctx context.Context, d *Director) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { p.runner.Run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case list := <-p.next:
			p.replace(list)
		case <-p.runner.Changed():
			p.tell(d, p.runner.Take())
		case <-p.firsts:
			p.tell(d, p.takeFirst())
		}
	}
}

func (p *Prober) tell(d *Director, list []healthcheck.Status) {
	if r := p.results(p.await(list)); len(r) > 0 {
		d.Observe(r)
	}
}

// await sets those aside that were not looked at yet.
func (p *Prober) await(list []healthcheck.Status) (looked []healthcheck.Status) {
	for _, st := range list {
		if st.Checks == 0 {
			p.mu.Lock()
			p.awaited[st.ID] = true
			p.mu.Unlock()
			again, ok := p.runner.Status(st.ID) // it may have been looked at meanwhile
			if !ok || again.Checks == 0 {
				continue
			}
			st = again
		}
		looked = append(looked, st)
	}
	return looked
}

func (p *Prober) replace(list []Subject) {
	subjects := make(map[string]*Subject, len(list))
	for i := range list {
		subjects[list[i].ID] = &list[i]
	}
	p.mu.Lock()
	p.subjects = subjects
	maps.DeleteFunc(p.awaited, func(id string, _ bool) bool { _, stays := subjects[id]; return !stays })
	p.mu.Unlock()
	plain := func(yield func(*healthcheck.Subject) bool) {
		for i := range list {
			if !yield(&list[i].Subject) {
				return
			}
		}
	}
	if err := p.runner.ReplaceAll(len(list), plain); err != nil { // Build has looked at them; a file may have gone since
		p.log.Error("checks could not be changed, the old ones go on", "event", "checks_unchanged", "err", err)
	}
}

func (p *Prober) results(list []healthcheck.Status) []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Result, 0, len(list))
	for i := range list {
		st := &list[i]
		s, known := p.subjects[st.ID]
		if !known {
			continue
		}
		r := Result{Server: s.Server, Index: s.Index, Reason: st.Reason, Warning: st.Warning, Weight: st.Weight}
		switch st.Verdict {
		case healthcheck.Up:
			r.Health = Up
		case healthcheck.Down:
			r.Health = Down
		}
		if r.Health == Up {
			r.Reason = ""
		}
		out = append(out, r)
	}
	return out
}

// Checks tells what is known of the checks of a server.
func (p *Prober) Checks(id ServerID) (out []CheckStatus) {
	for _, s := range p.of(id) {
		if st, ok := p.runner.Status(s.ID); ok {
			out = append(out, CheckStatus{s.Check.Type, st})
		}
	}
	return out
}

// of are the subjects of a server.
func (p *Prober) of(id ServerID) (list []*Subject) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; ; i++ {
		s := p.subjects[subjectID(id, i)]
		if s == nil {
			return list
		}
		list = append(list, s)
	}
}

// Stats counts what the runner did.
func (p *Prober) Stats() healthcheck.Stats { return p.runner.Stats() }

// subjects are what is to be checked. Checks of servers that were found serving start from up, so
// that fall counts for them, and those that another process made before us from what they said.
func (s *state) subjects() []Subject {
	found := make(map[ServerID]bool)
	for key, v := range s.services {
		for a, srv := range v.mem.Servers {
			if srv.AdoptedIn {
				found[ServerID{key, a}] = true
			}
		}
	}
	if len(found) == 0 {
		return s.setup.Subjects
	}
	out := slices.Clone(s.setup.Subjects)
	for i := range out {
		if found[out[i].Server] {
			out[i].Start = healthcheck.Up
		}
		if v := s.services[out[i].Server.Service]; v != nil {
			out[i].Known = v.verdict(out[i].Server.Addr, out[i].Index)
		}
	}
	return out
}
