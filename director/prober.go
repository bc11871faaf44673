package director

import (
	"context"
	"log/slog"
	"sync"

	"github.com/goipvs/goipvs/healthcheck"
)

// Prober has the subjects of a Director checked by a healthcheck.Runner and
// tells the Director what came of it. Make one with NewProber.
type Prober struct {
	runner *healthcheck.Runner
	log    *slog.Logger
	next   chan []Subject // what is to be checked from now on, the latest

	mu       sync.Mutex
	subjects map[string]Subject
	byServer map[ServerID][]Subject
}

// NewProber returns a Prober that checks nothing yet.
func NewProber(o healthcheck.Options, log *slog.Logger) *Prober {
	return &Prober{runner: healthcheck.NewRunner(o), log: log, next: make(chan []Subject, 1)}
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
			if r := p.results(p.runner.Take()); len(r) > 0 {
				d.Observe(r)
			}
		}
	}
}

func (p *Prober) replace(list []Subject) {
	subjects := make(map[string]Subject, len(list))
	byServer := make(map[ServerID][]Subject, len(list))
	plain := make([]healthcheck.Subject, 0, len(list))
	for _, s := range list {
		subjects[s.ID] = s
		byServer[s.Server] = append(byServer[s.Server], s)
		plain = append(plain, s.Subject)
	}
	p.mu.Lock()
	p.subjects, p.byServer = subjects, byServer
	p.mu.Unlock()
	if err := p.runner.Replace(plain); err != nil { // Build has looked at them; a file may have gone since
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
		if !known || st.Checks == 0 {
			continue
		}
		r := Result{Server: s.Server, Index: s.Index, Reason: st.Reason, Refused: st.Class == "refused", Warning: st.Warning}
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
	p.mu.Lock()
	list := p.byServer[id]
	p.mu.Unlock()
	for _, s := range list {
		if st, ok := p.runner.Status(s.ID); ok {
			out = append(out, CheckStatus{s.Check.Type, st})
		}
	}
	return out
}

// Stats counts what the runner did.
func (p *Prober) Stats() healthcheck.Stats { return p.runner.Stats() }

// subjects are what is to be checked. Checks of servers that were found serving start from up, so
// that fall counts for them.
func (s *state) subjects() []Subject {
	out := make([]Subject, len(s.setup.Subjects))
	copy(out, s.setup.Subjects)
	found := make(map[ServerID]bool)
	for key, v := range s.services {
		for a, srv := range v.mem.Servers {
			if srv.AdoptedIn {
				found[ServerID{key, a}] = true
			}
		}
	}
	for i := range out {
		if found[out[i].Server] {
			out[i].Start = healthcheck.Up
		}
	}
	return out
}
