package ipvsadm

import (
	"cmp"
	"errors"
	"iter"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// forFullNAT reports whether a change says itself that it is for full NAT. Others
// are for full NAT if the service is.
func forFullNAT(c *ipvs.Change) bool {
	switch c.Op {
	case ipvs.AddService, ipvs.UpdateService, ipvs.DeleteService, ipvs.DeleteDestination:
		return c.Service.FullNAT
	case ipvs.AddDestination, ipvs.UpdateDestination:
		return c.Service.FullNAT || c.Destination.Method == ipvs.FullNAT
	case ipvs.AddLocal, ipvs.DeleteLocal:
		return true
	}
	return false
}

// planes is the kernel and goipvsd's full NAT as one kernel. A service of full NAT
// may run in the kernel, which takes it for one of NAT: what goipvsd says of it
// goes before what the kernel does.
type planes struct {
	Kernel // fails with ErrNoIPVS where there is none
	// connect finds goipvsd: nil, nil when it does not run.
	connect func() (*engine, error)
	// mine leaves out what goipvsd's file names: it is not for commands to change.
	mine bool
	// none: the kernel has no IPVS. A listing is of full NAT alone then.
	none bool

	found  map[ipvs.ServiceKey][]ipvs.DestinationInfo // of services that were read one by one
	listed *engine                                    // the one of the last listing; nil: it does not run
	// broken is why goipvsd, which runs, did not list. The kernel's services are
	// listed all the same.
	broken error
}

// need is goipvsd for what cannot be without it.
func (p *planes) need() (*engine, error) {
	e, err := p.connect()
	if err == nil && e == nil {
		err = ErrNotRunning
	}
	return e, err
}

// look lists full NAT's services, all or one; none when goipvsd does not run.
func (p *planes) look(one ...ipvs.ServiceKey) (*engine, error) {
	e, err := p.connect()
	if err != nil || e == nil {
		return nil, err
	}
	if err = e.list(one...); err != nil {
		return nil, err
	}
	return e, nil
}

// owner is goipvsd if the service is of full NAT, and nil if it is not, if
// goipvsd does not run or is not well: that keeps nobody from the kernel.
func (p *planes) owner(k ipvs.ServiceKey) (*engine, error) {
	e, err := p.look(k)
	if err != nil || e == nil || !e.has(k) {
		return nil, err
	}
	return e, nil
}

// connections are those of full NAT: of user space, and what is known of the
// kernel's beside what it lists itself.
func (p *planes) connections() (full, kernel []Connection, err error) {
	e, err := p.connect()
	if err != nil || e == nil {
		return nil, nil, err
	}
	b, err := e.daemon.Ask(VerbConnections, []byte("{}"))
	if err != nil {
		return nil, nil, err
	}
	return readConnections(b)
}

func (p *planes) Info() (ipvs.Info, error) {
	if p.none {
		return ipvs.Info{}, nil
	}
	return p.Kernel.Info()
}

func (p *planes) Services() (all []ipvs.ServiceInfo, err error) {
	if !p.none {
		if all, err = p.Kernel.Services(); err != nil {
			return nil, err
		}
	}
	p.found = nil
	if p.listed, p.broken = p.look(); p.listed == nil {
		return all, nil
	}
	all = slices.DeleteFunc(all, func(s ipvs.ServiceInfo) bool { return p.listed.has(s.ServiceKey) })
	for _, s := range p.listed.services {
		if !p.mine || !s.Managed {
			all = append(all, s)
		}
	}
	return all, nil
}

// Service asks full NAT first.
func (p *planes) Service(k ipvs.ServiceKey) (s ipvs.ServiceInfo, err error) {
	delete(p.found, k)
	e, failed := p.owner(k)
	if e != nil {
		s, _ = e.service(k)
		if p.mine && s.Managed {
			return ipvs.ServiceInfo{}, &ipvs.OpError{Op: "read service", Object: k.String(), Err: ipvs.ErrNoService}
		}
		if p.found == nil {
			p.found = make(map[ipvs.ServiceKey][]ipvs.DestinationInfo)
		}
		p.found[k] = e.dests[k]
		return s, nil
	}
	if s, err = p.Kernel.Service(k); isAbsent(err) {
		err = errors.Join(failed, p.absent("read service", k, err))
	}
	return s, err
}

// absent is the kernel's error about a service that it does not have. Without
// IPVS goipvsd has all that there are.
func (p *planes) absent(op string, k ipvs.ServiceKey, err error) error {
	if p.none {
		return &ipvs.OpError{Op: op, Object: k.String(), Err: ipvs.ErrNoService}
	}
	return err
}

// isAbsent reports whether an error of the kernel leaves room for a service of
// full NAT.
func isAbsent(err error) bool {
	return errors.Is(err, ipvs.ErrNoService) || errors.Is(err, ipvs.ErrNoIPVS)
}

func (p *planes) Destinations(k ipvs.ServiceKey, buf []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error) {
	if ds, ok := p.found[k]; ok {
		return append(buf, ds...), nil
	}
	if p.listed != nil && p.listed.has(k) {
		return append(buf, p.listed.dests[k]...), nil
	}
	return p.Kernel.Destinations(k, buf)
}

// Do makes one change where its service is.
func (p *planes) Do(c ipvs.Change) error {
	if p.none || forFullNAT(&c) {
		e, err := p.need()
		if err != nil {
			return err
		}
		return e.do(c)
	}
	if e, _ := p.owner(c.Service.ServiceKey); e != nil {
		return e.do(c)
	}
	return p.Kernel.Do(c)
}

// do makes one change.
func (e *engine) do(c ipvs.Change) error {
	failed, err := e.apply([]ipvs.Change{c})
	if err == nil && len(failed) > 0 {
		return failed[0]
	}
	return err
}

// Apply streams to the kernel what is for it, and then makes the rest in full
// NAT.
func (p *planes) Apply(changes iter.Seq[ipvs.Change]) error {
	e, broken := p.look()
	s := split{engine: e, known: make(map[ipvs.ServiceKey]bool)}
	if p.none {
		changes = slices.Values(saysFullNAT(slices.Collect(changes)))
	}
	batch := &ipvs.BatchError{}
	err := p.Kernel.Apply(s.kernels(changes))
	var refused *ipvs.BatchError
	switch {
	case errors.As(err, &refused):
		for _, f := range refused.Failed {
			f.Index = s.original(f.Index)
		}
		batch.Failed = refused.Failed
	case err != nil && (s.passed > 0 || !errors.Is(err, ipvs.ErrNoIPVS)):
		return err
	}
	if len(s.ours) > 0 {
		if e == nil {
			return cmp.Or(broken, ErrNotRunning)
		}
		failed, err := e.apply(s.ours)
		switch {
		case err != nil && len(batch.Failed) == 0:
			return err
		case err != nil: // what the kernel refused is told, too
			failed = []*ipvs.OpError{lost(s.ours, 0, err)}
		}
		for _, f := range failed {
			f.Index = s.at[f.Index]
		}
		batch.Failed = append(batch.Failed, failed...)
	}
	if len(batch.Failed) == 0 {
		return nil
	}
	slices.SortFunc(batch.Failed, func(a, b *ipvs.OpError) int { return a.Index - b.Index })
	return batch
}

// split divides a sequence of changes between the kernel and full NAT.
type split struct {
	engine *engine
	known  map[ipvs.ServiceKey]bool // services that the sequence makes full NAT
	passed int                      // changes that went to the kernel
	ours   []ipvs.Change
	at     []int // where those of ours stood in the sequence
}

// kernels are the changes for the kernel. The others are kept in ours.
func (s *split) kernels(changes iter.Seq[ipvs.Change]) iter.Seq[ipvs.Change] {
	return func(yield func(ipvs.Change) bool) {
		for c := range changes {
			k := c.Service.ServiceKey
			switch {
			case forFullNAT(&c):
				s.known[k] = true
			case s.known[k], s.engine != nil && s.engine.has(k):
			default:
				s.passed++
				if !yield(c) {
					return
				}
				continue
			}
			s.at = append(s.at, s.passed+len(s.ours))
			s.ours = append(s.ours, c)
		}
	}
}

// saysFullNAT has the services that a list makes, and gives local addresses or
// real servers of full NAT later, be of full NAT from the start. IPVS would have
// them until then.
func saysFullNAT(list []ipvs.Change) []ipvs.Change {
	full := make(map[ipvs.ServiceKey]bool)
	for i := range slices.Backward(list) {
		c := &list[i]
		switch k := c.Service.ServiceKey; {
		case c.Op == ipvs.AddService:
			c.Service.FullNAT = c.Service.FullNAT || full[k]
		case forFullNAT(c):
			full[k] = true
		}
	}
	return list
}

// original is where the n-th change of the kernel's stood in the sequence.
func (s *split) original(n int) int {
	for _, at := range s.at {
		if at > n {
			break
		}
		n++
	}
	return n
}

// Flush empties both tables but for what goipvsd's file names.
func (p *planes) Flush() error { return p.both(p.Kernel.Flush, "-C") }

func (p *planes) Zero() error { return p.both(p.Kernel.Zero, "-Z") }

// Timeouts are the kernel's, which full NAT goes by, or full NAT's own without
// IPVS.
func (p *planes) Timeouts() (ipvs.Timeouts, error) {
	if !p.none {
		return p.Kernel.Timeouts()
	}
	e, err := p.look()
	if e == nil {
		return ipvs.Timeouts{}, cmp.Or(err, ErrNotRunning)
	}
	return e.timeouts, nil
}

func (p *planes) SetTimeouts(t ipvs.Timeouts) error {
	return p.both(func() error { return p.Kernel.SetTimeouts(t) }, "--set "+setWords(t))
}

// both does something to both tables. A kernel without IPVS is no failure when
// full NAT does it.
func (p *planes) both(kernel func() error, rule string) error {
	err := kernel()
	if err != nil && !errors.Is(err, ipvs.ErrNoIPVS) {
		return err
	}
	e, failed := p.connect()
	switch {
	case failed != nil:
		return failed
	case e == nil:
		return err
	}
	return e.one(rule)
}

func (p *planes) ZeroService(k ipvs.ServiceKey) error {
	err := p.Kernel.ZeroService(k)
	if !isAbsent(err) {
		return err
	}
	e, failed := p.owner(k)
	if e == nil {
		return errors.Join(failed, p.absent("zero counters", k, err))
	}
	return e.one(string(ruleWriter{}.key([]byte("-Z "), k)))
}
