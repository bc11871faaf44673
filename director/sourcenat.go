package director

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
)

// SourceNAT gives connections that the kernel forwards local addresses:
// sourcenat.Keeper is one. What it keeps stays in the kernel when the daemon
// ends, as services do.
type SourceNAT interface {
	// Services are those that connections get local addresses of now.
	Services() ([]snat.Service, error)
	// Keep has exactly these be so, and puts right what others changed. forwards
	// says that packets are forwarded for others, too.
	Keep(want []snat.Service, forwards bool) error
	// Differs tells what others changed since; empty: nothing.
	Differs() (string, error)
	Counts() (map[ipvs.ServiceKey]snat.Counts, error)
	// Untrack keeps packets of services out of connection tracking, and tells
	// whether others had changed that.
	Untrack([]snat.Untracked) (mended bool, err error)
	// Forget has connection tracking forget the connections of services, but for
	// those of TCP and SCTP that have no local address. It reads all that is
	// tracked, once for all of them.
	Forget(...snat.Service) error
}

// sourceNAT is what the director knows of it.
type sourceNAT struct {
	kept    []snat.Service // nil: nothing yet
	drift   string
	blind   string // why it cannot be looked at; empty: it can
	refusal refusal

	untracked bool   // something is, or may be of the last run
	noUntrack string // why it cannot be done; empty: it can

	swept    bool   // the rules that an earlier run left to bring packets to user space are gone
	diverted string // what others did to the rules that bring packets to user space, or why that is not known
}

// adoptSourceNAT takes local addresses from the kernel for services that the
// file says nothing of any more but that are not over: connections to them live
// by their rules.
func (s *state) adoptSourceNAT() {
	if s.d.o.SourceNAT == nil {
		return
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(s.services)), (*service).mayHaveRules) {
		return // there is nothing to learn, and asking may load nf_tables
	}
	have, err := s.d.o.SourceNAT.Services()
	if err != nil {
		return // no nf_tables, or no right to it: who needs it will hear of it
	}
	for _, h := range have {
		switch v := s.services[h.Key]; {
		case v == nil || !v.mayHaveRules():
		case v.former != nil:
			v.former.locals = h.Locals
		default:
			v.Locals = h.Locals
		}
	}
}

// mayHaveRules: only the rules themselves tell which local addresses the service
// has, because the file does not.
func (v *service) mayHaveRules() bool {
	return v.former != nil || v.Proxy == nil && len(v.Locals) == 0 && (v.gone || v.refused())
}

// prepareSourceNAT has the rules of services be there before their servers are.
// Where there are none they go after them.
func (s *state) prepareSourceNAT() {
	for _, v := range s.services {
		if len(v.Locals) > 0 || v.former != nil {
			s.keepSourceNAT(false)
			return
		}
	}
}

// rush is how long after a start rules that nobody wants are left alone: to look
// for those of an earlier run may load nf_tables, and verdicts would wait for it
// while servers are waiting to get their first traffic.
const rush = 3 * time.Second

// rushed reports whether the director has better to do than to look for what an
// earlier run has left.
func (s *state) rushed() bool { return s.nat.kept == nil && s.d.now().Before(s.began.Add(rush)) }

// wantedSourceNAT are the services whose connections need it: those that are to
// run in the kernel, and those that did and still have to be taken away.
func (s *state) wantedSourceNAT() (want []snat.Service, forwards bool) {
	for _, v := range s.services {
		if rules := v.sourceNAT(); len(rules.Locals) > 0 {
			want = append(want, rules)
		} else if v.Proxy == nil {
			forwards = true // by NAT, perhaps
		}
	}
	slices.SortFunc(want, func(a, b snat.Service) int { return a.Key.Compare(b.Key) })
	return want, forwards
}

// sourceNAT is what source NAT knows of the service: without local addresses
// there is nothing to do for it.
func (v *service) sourceNAT() snat.Service {
	out := snat.Service{Key: v.Key(), Locals: v.Locals}
	if f := v.former; len(out.Locals) == 0 && f != nil {
		out.Locals = f.locals
	}
	if out.Key.FWMark != 0 {
		for i := range v.Servers {
			out.Servers = append(out.Servers, v.Servers[i].Addr)
		}
		for _, d := range v.decision.Entry.Destinations { // a fallback is no server of its own
			out.Servers = append(out.Servers, d.Addr)
		}
	}
	return out
}

// keepSourceNAT has the kernel do what services need, before the first of their
// servers gets a weight and until the last is gone.
func (s *state) keepSourceNAT(again bool) {
	n := &s.nat
	if s.d.o.SourceNAT == nil {
		return
	}
	want, forwards := s.wantedSourceNAT()
	same := n.kept != nil && slices.EqualFunc(want, n.kept, func(a, b snat.Service) bool { return a.Key == b.Key && slices.Equal(a.Locals, b.Locals) })
	if len(want) == 0 && s.rushed() {
		return
	}
	if same && !again || n.refusal.text != "" && s.d.now().Before(n.refusal.again) {
		return
	}
	err := s.d.o.SourceNAT.Keep(want, forwards)
	if errors.Is(err, snat.ErrOthers) {
		return // who made what is there lives: that may be the process before us, and is asked again
	}
	if err != nil && len(want) == 0 && len(n.kept) == 0 {
		err = nil // there is nothing, and nothing is wanted
	}
	if err == nil {
		n.kept, n.drift = append([]snat.Service{}, want...), ""
		n.refusal.set(s.d.now(), "")
		return
	}
	if n.refusal.set(s.d.now(), err.Error()) {
		s.emit(Event{Kind: KernelRefused, Reason: err.Error()})
	}
}

// lacksSourceNAT is why the service must not get servers yet: their answers
// would go nowhere.
func (v *service) lacksSourceNAT(s *state) string {
	if len(v.Locals) == 0 || s.d.o.SourceNAT == nil || slices.ContainsFunc(s.nat.kept, func(k snat.Service) bool { return k.Key == v.Key() }) {
		return ""
	}
	return cmp.Or(s.nat.refusal.text, "no source NAT yet")
}

// findSourceNATDrift tells what others did to rules and knobs, and undoes it.
func (s *state) findSourceNATDrift() {
	n := &s.nat
	if s.d.o.SourceNAT == nil || len(n.kept) == 0 {
		return
	}
	text, err := s.d.o.SourceNAT.Differs()
	if err != nil {
		if n.blind != err.Error() {
			n.blind = err.Error()
			s.emit(Event{Kind: KernelRefused, Reason: n.blind})
		}
		return
	}
	n.blind = ""
	report := s.setup.Settings.ReportDrift
	if text != "" && text != n.drift {
		s.emit(Event{Kind: Drift, Reason: "full NAT: " + text, Attrs: []slog.Attr{slog.Bool("repaired", !report)}})
	}
	if n.drift = text; text != "" && !report {
		s.keepSourceNAT(true)
	}
}

// findDivertDrift tells that others changed the rules that bring packets to user
// space, and undoes it. What an earlier run has left of them goes without a word.
func (s *state) findDivertDrift() {
	if s.d.o.Proxy == nil {
		return
	}
	differs, err := s.d.o.Proxy.Differs()
	report := s.setup.Settings.ReportDrift
	if err == nil && differs && !report {
		err = s.d.o.Proxy.Mend()
	}
	text := ""
	switch {
	case err != nil:
		text = err.Error()
	case differs:
		text = "full NAT: rules that bring packets to user space removed or changed"
	}
	told := text == s.nat.diverted
	switch s.nat.diverted = text; {
	case err != nil && !told:
		s.emit(Event{Kind: KernelRefused, Reason: text})
	case err == nil && differs && (!told || !report):
		s.emit(Event{Kind: Drift, Reason: text, Attrs: []slog.Attr{slog.Bool("repaired", !report)}})
	}
	if !differs && !s.nat.swept && !s.rushed() {
		// No nf_tables, or no right to it: who needs it hears of it. The process
		// before us may still be at work.
		s.nat.swept = !errors.Is(s.d.o.Proxy.Mend(), fullnat.ErrOthers)
	}
}

// untrack keeps services of user space that ask for it out of connection
// tracking. It is tried again with every look at the kernel: connection tracking
// may have come. What cannot be done is said and harms no service.
func (s *state) untrack() {
	n := &s.nat
	want := s.wantUntracked()
	if s.d.o.SourceNAT == nil || len(want) == 0 && (!n.untracked || s.rushed()) {
		return
	}
	mended, err := s.d.o.SourceNAT.Untrack(want)
	if len(want) == 0 {
		n.untracked, n.noUntrack = err != nil, ""
		return
	}
	text := ""
	if err != nil {
		text = "notrack: " + err.Error()
	}
	if n.noUntrack != text && err != nil {
		s.emit(Event{Kind: KernelRefused, Reason: text})
	}
	n.untracked, n.noUntrack = true, text
	if mended {
		s.emit(Event{Kind: Drift, Reason: "full NAT: notrack rules removed or changed", Attrs: []slog.Attr{slog.Bool("repaired", true)}})
	}
}

// trackAgain takes the rules away: user space ends with the daemon.
func (s *state) trackAgain() {
	if s.d.o.SourceNAT != nil && s.nat.untracked {
		_, err := s.d.o.SourceNAT.Untrack(nil)
		s.nat.untracked = err != nil
	}
}

func (s *state) wantUntracked() (want []snat.Untracked) {
	inKernel := make(map[netip.Addr]bool) // whose connections live by connection tracking
	for _, k := range s.nat.kept {
		for _, a := range k.Locals {
			inKernel[a] = true
		}
	}
	for key, v := range s.services {
		if !v.Notrack || v.Proxy == nil || v.gone {
			continue
		}
		u := snat.Untracked{Key: key}
		for _, a := range v.Proxy.Locals {
			if !inKernel[a] {
				u.Locals = append(u.Locals, a)
			}
		}
		for _, d := range v.decision.Entry.Destinations {
			if p := cmp.Or(d.Addr.Port(), key.Addr.Port()); !slices.Contains(u.Ports, p) {
				u.Ports = append(u.Ports, p)
			}
		}
		slices.Sort(u.Ports)
		want = append(want, u)
	}
	slices.SortFunc(want, func(a, b snat.Untracked) int { return a.Key.Compare(b.Key) })
	return want
}

// former is where a service ran before it was given another plane. It is taken
// away there when it runs here, so that no connection finds neither.
type former struct {
	plane  ipvs.Kernel
	locals []netip.Addr
	since  time.Time // when it began to run elsewhere; zero: it does not yet
}

// leaveBehind remembers where the service has run, as it is going to run
// elsewhere.
func (v *service) leaveBehind(s *state) {
	v.former = &former{plane: v.plane(s), locals: v.Locals}
	v.tellEnding(s)
	v.have, v.made, v.asked, v.there = nil, nil, nil, false
}

// tellEnding tells how many connections end because the service leaves the
// kernel, before they do: IPVS drops packets of a service that it does not have
// any more. Datagrams go on.
func (v *service) tellEnding(s *state) {
	if v.former.plane != s.d.o.Kernel || v.Service.Protocol == ipvs.UDP {
		return
	}
	have, _ := v.former.plane.Destinations(v.Key(), nil) // none: it is not there
	n := 0
	for i := range have {
		n += int(have[i].Active)
	}
	if n == 0 {
		return
	}
	text := fmt.Sprintf("it moves from the kernel to user space, which ends its %d established connections", n)
	e := v.event(ConnectionsEnd, netip.AddrPort{}, text)
	e.Attrs = []slog.Attr{slog.Int("connections", n)}
	s.emit(e)
	s.ending = append(s.ending, v.Name+": "+text)
}

// retire takes services away from where they ran before. It comes a while after
// they run elsewhere: a client whose handshake is under way ends it there.
func (s *state) retire() {
	var moved []*service
	for _, key := range s.keys() {
		v := s.services[key]
		switch {
		case v.former == nil || v.gone || v.made == nil:
			continue
		case v.former.since.IsZero():
			v.former.since = s.d.now()
			continue
		case s.d.now().Sub(v.former.since) < idleTick:
			continue
		}
		if err := removeFrom(v.former.plane, key)[key]; err != nil {
			if v.refusal.set(s.d.now(), err.Error()) {
				s.emit(v.event(KernelRefused, netip.AddrPort{}, err.Error()))
			}
			continue
		}
		if v.former.plane == s.d.o.Kernel {
			moved = append(moved, v)
		}
		v.former = nil
	}
	s.forget(moved)
}

// hasDatagrams tells whether there may be some of UDP.
func (v *service) hasDatagrams() bool { return v.Service.Protocol == ipvs.UDP || v.Key().FWMark != 0 }

// forget has connection tracking forget what passed before services ran where
// they run now: a client that goes on, or comes again, from its port would be taken
// for the old connection, which has other addresses.
func (s *state) forget(fresh []*service) {
	if s.d.o.SourceNAT == nil || len(fresh) == 0 {
		return
	}
	var all []snat.Service
	for _, v := range fresh {
		all = append(all, v.sourceNAT())
	}
	if err := s.d.o.SourceNAT.Forget(all...); err != nil {
		for _, v := range fresh {
			s.emit(v.event(KernelRefused, netip.AddrPort{}, err.Error()))
		}
	}
}
