package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// settle decides anew about all services that something happened to and makes
// the kernel what is wanted for them.
func (s *state) settle() {
	if len(s.dirty) > 0 {
		s.settleWith(nil)
	}
}

// settleWith is settle, also for services that are decided about already.
func (s *state) settleWith(decided []*service) {
	now := s.d.now() // of all decisions
	s.watchHold(now)
	var work, told []*service
	for _, key := range slices.SortedFunc(maps.Keys(s.dirty), ipvs.ServiceKey.Compare) {
		v := s.services[key]
		if v == nil {
			continue
		}
		if told = append(told, v); v.reconsider(s, now) {
			work = append(work, v)
		}
	}
	for _, v := range decided {
		if s.services[v.Key()] != v || s.dirty[v.Key()] {
			continue
		}
		if told = append(told, v); v.differs(s) {
			work = append(work, v)
		}
	}
	clear(s.dirty)
	s.prepareSourceNAT()
	s.apply(work)
	for _, v := range told {
		v.tell(s, now)
	}
	s.bury()
	s.keepSourceNAT(false)
	s.untrack()
	s.handOutVIPs()
	if s.unsaved {
		s.save()
	}
	if s.recheck {
		s.recheck = false
		s.d.o.Subjects(s.subjects())
	}
}

// reconsider decides anew, and reports whether the kernel is to be asked for
// something.
func (v *service) reconsider(s *state, now time.Time) bool {
	if v.tellPlane(s); v.refused() && !v.gone {
		return false
	}
	v.decide(s, now)
	return v.differs(s)
}

// watchHold looks for a mass failure, which concerns all services.
func (s *state) watchHold(now time.Time) {
	_, was := s.hold.Active()
	if !s.hold.Update(now, s.servers()) {
		return
	}
	s.unsaved = true
	switch _, on := s.hold.Active(); {
	case on == was:
		return // one more is held, and decided about anyway
	case on:
		s.emit(Event{Kind: HoldBegan})
	default:
		s.emit(Event{Kind: HoldEnded})
	}
	s.touchAll()
}

// decide takes a new decision and tells what changed by it. Whether the service is
// up is told when the kernel has answered.
func (v *service) decide(s *state, now time.Time) {
	old, leaving := v.decision, maps.Clone(v.mem.Leaving)
	v.decision = Decide(now, &v.VirtualService, &v.mem, v.ours(&s.setup.Settings))
	d := &v.decision
	s.unsaved = s.unsaved || !maps.Equal(leaving, v.mem.Leaving)
	for _, a := range d.Drained {
		if !slices.ContainsFunc(v.Fallback, func(f ipvs.Destination) bool { return f.Addr == a }) {
			s.emit(v.event(ServerDrained, a, ""))
		}
	}
	if !v.gone && v.Manual == nil && d.Fallback != old.Fallback {
		k := FallbackOff
		if d.Fallback {
			k = FallbackOn
		}
		s.emit(v.event(k, netip.AddrPort{}, ""))
		v.command(s)
	}
}

// tell tells whether the service is up, when that has changed: its servers reach
// the quorum, and clients do reach its servers. While servers remain that were
// never checked it is too early to say.
func (v *service) tell(s *state, now time.Time) {
	d := &v.decision
	up := d.Up && v.served()
	v.answers = v.there
	if v.gone || v.refused() || d.Pending || v.decided && up == v.up {
		return
	}
	first := !v.decided
	v.up, v.decided, v.since = up, true, now
	if v.Manual != nil {
		return // nobody checks it, so nobody is told
	}
	e := v.event(ServiceUp, netip.AddrPort{}, "")
	if !up {
		e = v.event(ServiceDown, netip.AddrPort{}, v.why(s))
	}
	e.first = first
	s.emit(e)
	v.notify(s, v.Notify, up, e)
}

// served reports whether clients reach servers: the service is in the table, as
// last seen or made, with a server that gets connections, or still runs where it
// ran before.
func (v *service) served() bool {
	return v.former != nil || v.there && slices.ContainsFunc(v.have, func(d ipvs.DestinationInfo) bool { return d.Weight > 0 })
}

// unserved tells why the service is not served although its servers are well.
func (v *service) unserved(s *state) string {
	where := "the kernel"
	if v.Proxy != nil {
		where = "user space"
	}
	text := where + " does not have the service"
	if v.there {
		text = where + " gives none of its servers connections"
	}
	for _, reason := range []string{v.refusal.text, v.drift} {
		if reason != "" {
			return text + ": " + reason
		}
	}
	if s.lost != nil {
		return text + ": " + s.lost.Error()
	}
	return text
}

// why tells why the service is down: what its quorum lacks, where some servers are
// well, and what is wrong with the others, each reason once.
func (v *service) why(s *state) string {
	if v.decision.Up {
		return v.unserved(s)
	}
	var reasons []string
	seen := map[string]bool{"": true}
	if d := &v.decision; d.Capacity > 0 {
		reasons = append(reasons, fmt.Sprintf("weights of %d where the quorum is %d", d.Capacity, max(v.Quorum, 1)))
	}
	for i := range v.Servers {
		r := v.mem.Server(v.Servers[i].Addr).Reason
		if st := &v.decision.Standings[i]; r == "" && st.full == 0 {
			r = string(st.Cause)
			if st.Cause == CauseHealthy {
				r = "weight 0"
			}
		}
		if !seen[r] {
			seen[r] = true
			reasons = append(reasons, r)
		}
	}
	return strings.Join(reasons, "; ")
}

// differs reports whether the kernel is to be asked for something: there is
// something new to ask, or it is not as it should be and it is time.
func (v *service) differs(s *state) bool {
	switch {
	case v.gone && v.decision.Leaving == 0:
		return false // to be buried
	case v.asked == nil || !equal(*v.asked, v.decision.Entry):
		return true
	case v.made == nil:
		return !s.d.now().Before(v.refusal.again)
	}
	return v.drift != "" && !s.setup.Settings.ReportDrift
}

func equal(a, b ipvs.Entry) bool {
	if a.Service == b.Service && slices.Equal(a.Destinations, b.Destinations) {
		return true // the usual case, and quickly told
	}
	return len(ipvs.Plan(ipvs.Table{a}, ipvs.Table{b})) == 0
}

// apply makes the kernel what is wanted for some services: additions first,
// then a look, then what takes away (ipvs.Reconcile).
func (s *state) apply(work []*service) {
	if len(work) == 0 {
		return
	}
	byPlane := make(map[plane][]*service)
	for _, v := range work {
		if reason := v.lacksSourceNAT(s); reason != "" {
			v.applied(s, ipvs.Result{}, &ipvs.BatchError{Failed: []*ipvs.OpError{{Op: "source NAT", Object: v.Key().String(), Err: errors.New(reason)}}})
			continue
		}
		byPlane[v.plane(s)] = append(byPlane[v.plane(s)], v)
	}
	for k, list := range byPlane {
		s.applyTo(k, list)
	}
}

func (s *state) applyTo(k plane, work []*service) {
	want := make(ipvs.Table, 0, len(work))
	for _, v := range work {
		if e, ok := v.wanted(&s.setup.Settings); ok {
			want = append(want, e)
		}
	}
	r, err := ipvs.Reconcile(k, want, ipvs.ReconcileOptions{KeepOthers: true, Singly: true})
	made := r.Made
	if !s.d.log.Enabled(context.Background(), KernelChanged.Level) {
		made = nil // nobody else hears of it, and there may be thousands to be named
	}
	for _, c := range made {
		s.emit(Event{Kind: KernelChanged, Attrs: []slog.Attr{slog.String("change", c.String())}})
	}
	if k == s.d.o.Kernel { // user space says nothing of it
		s.reached(lostOnly(err))
	}
	if isLost(err) {
		s.last, s.looking = nil, nil
		return
	}
	if errors.Is(err, ipvs.ErrUnsettled) {
		s.settled(false)
	}
	added := make(map[ipvs.ServiceKey]bool)
	for _, c := range r.Made {
		if c.Op == ipvs.AddService {
			added[c.Service.ServiceKey] = true
		}
	}
	var fresh []*service
	for _, v := range work {
		v.applied(s, r, err)
		if added[v.Key()] && v.made != nil && len(v.Locals) > 0 && v.hasDatagrams() {
			fresh = append(fresh, v)
		}
	}
	s.forget(fresh)
}

// applied takes note of what the kernel was made to hold, and of what it was not.
func (v *service) applied(s *state, r ipvs.Result, err error) {
	e := v.decision.Entry
	left := v.drift != "" && s.setup.Settings.ReportDrift // as others made it, which is told
	if v.asked, v.made = &e, &e; !left {
		v.drift = ""
	}
	reason := refusedOf(err, v.Key())
	unsettled := errors.Is(err, ipvs.ErrUnsettled)
	v.failure = nil
	if reason != "" {
		v.failure = failureOf(err, v.Key())
	}
	for _, c := range r.Withheld {
		if c.Service.ServiceKey == v.Key() && reason == "" && !unsettled {
			reason = "withheld: " + c.String()
		}
	}
	if reason != "" || unsettled { // what is unsettled is nobody's refusal: the next tick tries again
		v.made, s.last, s.looking = nil, nil, nil
		v.find(v.plane(s))
	} else {
		v.there = true
		if v.assume(e); left {
			v.find(v.plane(s))
		}
		if s.last != nil {
			s.last.made(v.Key(), e.Service, v.have)
		}
		if s.looking != nil {
			s.looking.made(v.Key(), e.Service, v.have)
		}
	}
	if v.refusal.set(s.d.now(), reason) && reason != "" {
		s.emit(v.event(KernelRefused, netip.AddrPort{}, reason))
	}
}

// assume has v.have be what was just made, without a look: the counters of
// connections stay those of the last one.
func (v *service) assume(e ipvs.Entry) {
	have := make([]ipvs.DestinationInfo, 0, len(e.Destinations))
	for _, d := range e.Destinations {
		info := ipvs.DestinationInfo{Destination: d}
		if old := v.inKernel(d.Addr); old != nil {
			info = *old
			info.Destination = d
		}
		have = append(have, info)
	}
	v.have = have
}

// find looks for the service where not all that is wanted was made.
func (v *service) find(k plane) {
	info, err := k.Service(v.Key())
	if errors.Is(err, ipvs.ErrNoService) {
		v.there, v.have = false, nil
		return
	}
	have, err2 := k.Destinations(v.Key(), nil)
	if errors.Join(err, err2) == nil { // else the next look tells
		v.there, v.seen, v.have = true, info, have
	}
}

// refusedOf is what the kernel said no to of one service.
func refusedOf(err error, key ipvs.ServiceKey) string {
	var reasons []string
	for _, f := range failuresOf(err, key) {
		reasons = append(reasons, f.Error())
	}
	return strings.Join(reasons, "; ")
}

// failureOf is the first of its reasons.
func failureOf(err error, key ipvs.ServiceKey) error {
	for _, f := range failuresOf(err, key) {
		return f.Err
	}
	return nil
}

func failuresOf(err error, key ipvs.ServiceKey) (some []*ipvs.OpError) {
	var batch *ipvs.BatchError
	if !errors.As(err, &batch) {
		return nil
	}
	name := key.String()
	for _, f := range batch.Failed {
		if f.Object == name || strings.HasPrefix(f.Object, name+" ") || strings.HasSuffix(f.Object, " of "+name) {
			some = append(some, f)
		}
	}
	return some
}

// remove deletes services where they run, and where they ran, each plane asked
// once. It tells what it was refused, and why.
func (s *state) remove(gone []*service) (failed map[ipvs.ServiceKey]error) {
	failed = make(map[ipvs.ServiceKey]error)
	for _, where := range []func(*service) ipvs.Kernel{(*service).ranIn, func(v *service) ipvs.Kernel { return v.plane(s) }} {
		keys := make(map[ipvs.Kernel][]ipvs.ServiceKey)
		for _, v := range gone {
			if p := where(v); p != nil && failed[v.Key()] == nil {
				keys[p] = append(keys[p], v.Key())
			}
		}
		for p, list := range keys {
			maps.Copy(failed, removeFrom(p, list...))
		}
	}
	return failed
}

// ranIn is where a service ran that has moved; nil: it has not.
func (v *service) ranIn() ipvs.Kernel {
	if v.former == nil {
		return nil
	}
	return v.former.plane
}

// removeFrom deletes services and tells of which it was refused; one that is not
// there is as good.
func removeFrom(k ipvs.Kernel, keys ...ipvs.ServiceKey) (failed map[ipvs.ServiceKey]error) {
	err := k.Apply(func(yield func(ipvs.Change) bool) {
		for _, key := range keys {
			if !yield(ipvs.Change{Op: ipvs.DeleteService, Service: ipvs.Service{ServiceKey: key}}) {
				return
			}
		}
	})
	failed = make(map[ipvs.ServiceKey]error)
	absent := func(err error) bool { return errors.Is(err, ipvs.ErrNoService) || errors.Is(err, ipvs.ErrNoIPVS) }
	var batch *ipvs.BatchError
	switch {
	case errors.As(err, &batch):
		for _, f := range batch.Failed {
			if !absent(f) {
				failed[keys[f.Index]] = &ipvs.BatchError{Failed: []*ipvs.OpError{f}}
			}
		}
	case err != nil && !absent(err):
		for _, key := range keys {
			failed[key] = err
		}
	}
	return failed
}

// bury removes services that left the file and whose connections are over, all
// at once. It waits while it is not known what they have.
func (s *state) bury() {
	if s.unsettled {
		return
	}
	var gone []*service
	for _, v := range s.services {
		if v.gone && v.decision.Leaving == 0 {
			gone = append(gone, v)
		}
	}
	if len(gone) == 0 {
		return
	}
	slices.SortFunc(gone, func(a, b *service) int { return a.Key().Compare(b.Key()) })
	failed := s.remove(gone)
	for _, v := range gone {
		key := v.Key()
		if err := failed[key]; err != nil {
			if !isLost(err) && v.refusal.set(s.d.now(), err.Error()) {
				s.emit(v.event(KernelRefused, netip.AddrPort{}, err.Error()))
			}
			continue
		}
		delete(s.services, key)
		if s.last != nil {
			s.last.removed(key)
		}
		s.emit(Event{Kind: ServiceRemoved, Virtual: v.Name})
		s.unsaved = true
	}
}
