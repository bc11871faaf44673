package director

import (
	"log/slog"
	"net/netip"
	"time"
)

// observe takes note of results of checks.
func (s *state) observe(results []Result) {
	now := s.d.now()
	for _, r := range results {
		v := s.services[r.Server.Service]
		if v == nil || v.gone || v.server(r.Server) == nil {
			continue // of a server that has left the file
		}
		v.observe(s, now, r)
	}
}

func (v *service) observe(s *state, now time.Time, r Result) {
	a := r.Server.Addr
	list := v.results[a]
	for len(list) < max(v.checks[a], r.Index+1) { // those that have not answered yet
		list = append(list, Result{Server: r.Server})
	}
	old := list[r.Index]
	list[r.Index] = r
	v.results[a] = list
	if r.Warning != "" && r.Warning != old.Warning {
		s.emit(v.event(CheckWarning, a, r.Warning))
	}
	all := list.combine()
	if all.Health == Unchecked {
		if all.Reason != "" && old.Reason != r.Reason {
			s.emit(v.event(ServerUnknown, a, all.Reason))
		}
		return
	}
	srv := v.mem.Server(a)
	if all.Health == Up && srv.Weight != all.Weight {
		srv.Weight = all.Weight
		s.emit(v.weighed(a))
		s.touch(v)
	}
	was, since := srv.Health, srv.Since
	counted := was == Up || was == Unchecked && (srv.AdoptedIn || v.UncheckedUp)
	if !srv.Observe(now, all.Health, all.Reason) {
		return
	}
	e := v.event(ServerUp, a, all.Reason)
	if all.Health == Down {
		e.Kind = ServerDown
	}
	e.first = was == Unchecked
	e.Attrs = []slog.Attr{slog.String("was", was.String())}
	if !since.IsZero() {
		e.Attrs = append(e.Attrs, slog.Duration("for", now.Sub(since).Round(time.Millisecond)))
	}
	s.emit(e)
	if up := all.Health == Up; up != counted {
		v.notify(s, v.server(r.Server).Notify, up, e)
	}
	s.touch(v)
}

// weighed is the event of a server whose checks say another weight.
func (v *service) weighed(a netip.AddrPort) Event {
	e := v.event(WeightSaid, a, "")
	w := v.mem.Server(a).Weight
	if !w.Said {
		w.Value = v.server(ServerID{v.Key(), a}).Weight
	}
	e.Attrs = []slog.Attr{slog.Int("weight", int(w.Value))}
	return e
}

// event is an event of the service, or of one of its servers when a is valid.
func (v *service) event(k *EventKind, a netip.AddrPort, reason string) Event {
	e := Event{Kind: k, Virtual: v.Name, Reason: reason, of: v, addr: a}
	if a.IsValid() {
		e.Server = a.String()
	}
	return e
}

// count takes note of how many checks each server has, and forgets results of
// those it no longer has.
func (v *service) count(n map[netip.AddrPort]int) {
	v.checks = n
	for a, list := range v.results {
		if want := n[a]; len(list) > want {
			v.results[a] = list[:want]
		}
	}
}
