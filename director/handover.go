package director

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

// Knowledge is what a Director knows beyond Persistent and the kernel's table.
// It goes from a process to the one that takes its place, as JSON: a file would
// be too old to be believed.
type Knowledge struct {
	Services []ServiceKnowledge `json:"services,omitempty"`
	Hold     time.Time          `json:"mass_failure_since,omitzero"`
	Reload   ReloadStatus       `json:"reload,omitzero"`
	Events   []pastEvent        `json:"events,omitempty"`
}

// ServiceKnowledge is what is known of one service.
type ServiceKnowledge struct {
	Service  keyJSON           `json:"service"`
	Up       bool              `json:"up,omitempty"`
	Fallback bool              `json:"fallback,omitempty"`
	Decided  bool              `json:"decided,omitempty"`
	Since    time.Time         `json:"since,omitzero"`
	Servers  []ServerKnowledge `json:"servers,omitempty"`
	Leaving  []leaving         `json:"leaving,omitempty"`
	Events   []pastEvent       `json:"events,omitempty"`
}

// ServerKnowledge is what is known of one real server.
type ServerKnowledge struct {
	Server    netip.AddrPort     `json:"server"`
	Health    Health             `json:"health,omitempty"`
	Reason    string             `json:"reason,omitempty"`
	Since     time.Time          `json:"since,omitzero"`
	Ramp      time.Time          `json:"ramp,omitzero"`
	Adopted   bool               `json:"adopted,omitempty"`
	AdoptedIn bool               `json:"adopted_in,omitempty"`
	Failed    bool               `json:"failed,omitempty"`
	Held      bool               `json:"held,omitempty"`
	Weight    healthcheck.Weight `json:"weight,omitzero"`
	Results   []Result           `json:"results,omitempty"` // of its checks, in their order
	Events    []pastEvent        `json:"events,omitempty"`
}

type leaving struct {
	Server netip.AddrPort `json:"server"`
	Since  time.Time      `json:"since"`
	Until  time.Time      `json:"until,omitzero"`
}

// pastEvent is an event of a timeline.
type pastEvent struct {
	Time   time.Time         `json:"time"`
	Event  string            `json:"event"`
	Server string            `json:"server,omitempty"`
	Reason string            `json:"reason,omitempty"`
	Facts  map[string]string `json:"facts,omitempty"`
}

// ErrYielded is the error of a Director that has left everything to another.
var ErrYielded = errors.New("another process has taken over")

// Yield offers everything to another Director. While f runs this one changes
// nothing and answers nobody. When f returns true Run ends with ErrYielded and
// leaves all as it is, whatever the setup's OnStop says; otherwise it goes on.
func (d *Director) Yield(f func(Persistent, *Knowledge) bool) error {
	return d.change(func(s *state) {
		answer := make(chan bool, 1)
		p, k := s.persistent(), s.knowledge()
		go func() { answer <- f(p, k) }()
		beat := time.NewTicker(idleTick)
		defer beat.Stop()
		for {
			select {
			case s.yielded = <-answer:
				s.touchAll() // it may have been long
				return
			case <-beat.C:
				s.d.o.Beat()
			}
		}
	})
}

func (s *state) knowledge() *Knowledge {
	k := &Knowledge{Hold: s.hold.since, Reload: s.reload, Events: s.own.past()}
	for _, key := range s.keys() {
		v := s.services[key]
		known := ServiceKnowledge{Service: keyToJSON(key), Up: v.up, Fallback: v.decision.Fallback, Decided: v.decided, Since: v.since, Events: v.events.past()}
		for a, m := range v.mem.Servers {
			known.Servers = append(known.Servers, ServerKnowledge{
				Server: a, Health: m.Health, Reason: m.Reason, Since: m.Since, Ramp: m.Ramp, Adopted: m.Adopted, AdoptedIn: m.AdoptedIn,
				Failed: m.Failed, Held: m.Held, Weight: m.Weight, Results: v.results[a], Events: v.history(a).past(),
			})
		}
		for a, l := range v.mem.Leaving {
			known.Leaving = append(known.Leaving, leaving{a, l.Since, l.Until})
		}
		k.Services = append(k.Services, known)
	}
	return k
}

// know takes over what another Director knew.
func (s *state) know(k *Knowledge) {
	s.hold.since, s.reload = k.Hold, k.Reload
	kinds := make(map[string]*EventKind)
	for _, e := range Kinds() {
		kinds[e.Name] = e
	}
	s.own.recall(k.Events, kinds, nil)
	for i := range k.Services {
		known := &k.Services[i]
		key, err := known.Service.key()
		if v := s.services[key]; err == nil && v != nil {
			v.know(known, kinds)
		}
	}
}

func (v *service) know(k *ServiceKnowledge, kinds map[string]*EventKind) {
	v.mem.Up = k.Up
	v.up, v.decision.Fallback, v.decided, v.since = k.Up, k.Fallback, k.Decided, k.Since
	v.events.recall(k.Events, kinds, v)
	for _, l := range k.Leaving {
		v.mem.leave(l.Server, Leave{l.Since, l.Until})
	}
	for i := range k.Servers {
		known := &k.Servers[i]
		if v.server(ServerID{v.Key(), known.Server}) == nil {
			continue
		}
		m := v.mem.Server(known.Server)
		m.Health, m.Reason, m.Since, m.Ramp = known.Health, known.Reason, known.Since, known.Ramp
		m.Adopted, m.AdoptedIn, m.Failed, m.Held, m.Weight = known.Adopted, known.AdoptedIn, known.Failed, known.Held, known.Weight
		v.history(known.Server).recall(known.Events, kinds, v)
		if n := len(known.Results); n > 0 && n <= v.checks[known.Server] {
			for i := range known.Results {
				known.Results[i].Server, known.Results[i].Index = ServerID{v.Key(), known.Server}, i
			}
			v.results[known.Server] = known.Results
		}
	}
}

// verdict is what the runner should take a check's result for from the first.
func (v *service) verdict(a netip.AddrPort, check int) healthcheck.Verdict {
	if r := v.results[a]; check < len(r) {
		switch r[check].Health {
		case Up:
			return healthcheck.Up
		case Down:
			return healthcheck.Down
		}
	}
	return healthcheck.Unknown
}

func (t *timeline) past() (out []pastEvent) {
	for i := range *t {
		e := &(*t)[i]
		p := pastEvent{Time: e.Time, Event: e.Kind.Name, Server: e.Server, Reason: e.Reason}
		for _, a := range e.Attrs {
			if p.Facts == nil {
				p.Facts = make(map[string]string)
			}
			p.Facts[a.Key] = a.Value.String()
		}
		out = append(out, p)
	}
	return out
}

// recall puts past events into a timeline. Kinds that are not known any more are
// forgotten.
func (t *timeline) recall(past []pastEvent, kinds map[string]*EventKind, of *service) {
	for _, p := range past {
		k := kinds[p.Event]
		if k == nil {
			continue
		}
		e := Event{Time: p.Time, Kind: k, Server: p.Server, Reason: p.Reason, of: of}
		if of != nil {
			e.Virtual = of.Name
		}
		for _, key := range slices.Sorted(maps.Keys(p.Facts)) {
			e.Attrs = append(e.Attrs, slog.String(key, p.Facts[key]))
		}
		t.add(e)
	}
}

// proxied reports whether the full NAT engine has the service.
func (s *state) proxied(key ipvs.ServiceKey) bool {
	if s.d.o.Proxy == nil {
		return false
	}
	all, err := s.d.o.Proxy.Services()
	return err == nil && slices.ContainsFunc(all, func(i ipvs.ServiceInfo) bool { return i.ServiceKey == key })
}

// evict has the engine end services that it goes on with from another process
// and that run elsewhere now.
func (s *state) evict() {
	for _, key := range s.keys() {
		if v := s.services[key]; v.Proxy == nil && s.proxied(key) {
			err := s.d.o.Proxy.Apply(slices.Values([]ipvs.Change{{Op: ipvs.DeleteService, Service: ipvs.Service{ServiceKey: key}}}))
			if err != nil {
				s.emit(v.event(KernelRefused, netip.AddrPort{}, err.Error()))
			}
		}
	}
}
