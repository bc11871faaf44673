package sched

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// FuzzSteps does whatever the input says to a service and wants counters that
// are right: never negative, and what the connections held add up to.
func FuzzSteps(f *testing.F) {
	for i := range Names() {
		f.Add(byte(i), []byte("\x00\x00\x10\x00\x01\x21\x00\x02\x32\x03\x00\x00\x03\x01\x00\x03\x02\x00\x04\x00\x01\x05\x01\x00\x07\x20\x00\x03\x03\x07\x02\x00\x00\x08\xff\xff\x03\x04\x00\x06\x01\x09"))
		f.Add(byte(i)|0x80, []byte("\x00\x05\xff\x00\x06\x00\x03\x01\x01\x03\x01\x02\x08\x00\xf0\x03\x03\x03\x02\x05\x00\x03\x04\x04\x00\x05\x01\x07\x90\x02\x05\x00\x00\x08\x10\x00"))
	}
	f.Fuzz(func(t *testing.T, scheduler byte, steps []byte) {
		s := newSteps(t, scheduler)
		for ; len(steps) >= 3 && len(s.conns) < 2000; steps = steps[3:] {
			s.step(steps[0], steps[1], steps[2])
			s.check()
		}
	})
}

type fuzzed struct {
	*Service
	t        *testing.T
	settings Settings
	now      time.Duration
	conns    []*Conn
}

func newSteps(t *testing.T, scheduler byte) *fuzzed {
	s := &fuzzed{t: t, settings: Settings{LBLCExpiration: time.Minute, LBLCRExpiration: time.Minute}}
	config := ipvs.Service{ServiceKey: ipvs.MarkService(1, ipvs.IPv4), Scheduler: s.name(scheduler)}
	if scheduler&0x80 != 0 {
		config.Flags, config.Timeout = ipvs.Persistent, 30*time.Second
	}
	var err error
	if s.Service, err = New(0, config, &s.settings); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *fuzzed) name(i byte) string { return Names()[int(i&0x7f)%len(Names())] }

func (s *fuzzed) step(kind, a, b byte) {
	d := limited(int(a%8), int32(b>>4), uint32(b%5), uint32(b%3))
	if b == 0xff {
		d.Weight = math.MaxInt32
	}
	switch kind % 9 {
	case 0:
		_ = s.AddServer(s.now, d) // may be there, or have wrong thresholds
	case 1:
		_ = s.UpdateServer(s.now, d)
	case 2:
		_ = s.DeleteServer(s.now, d.Addr)
	case 3:
		s.open(a, b)
	case 4:
		if len(s.conns) > 0 {
			s.SetState(s.conns[int(a)%len(s.conns)], State(b%12))
		}
	case 5:
		if len(s.conns) > 0 {
			s.End(s.now, s.conns[int(a)%len(s.conns)])
		}
	case 6:
		if s.Choose(s.now, client, virtual(int(a))); b == 0 { // never bound
			s.Choose(s.now, netip.AddrPort{}, netip.AddrPort{})
		}
	case 7:
		s.edit(a, b)
	case 8:
		s.now += time.Duration(a)*time.Second + time.Duration(b)*time.Minute
		s.Advance(s.now)
	}
}

func (s *fuzzed) open(a, b byte) {
	choice, ok := s.Choose(s.now, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, a}), uint16(b)), virtual(int(b%4)))
	if !ok {
		return
	}
	if choice.template == nil && (!choice.Server.available || choice.Server.weight <= 0) {
		s.t.Fatalf("chose a server with weight %d, in the list %v", choice.Server.weight, choice.Server.available)
	}
	c := &Conn{}
	if b > 0xf0 && len(s.conns) > 0 {
		c = s.conns[int(a)%len(s.conns)]
	} else {
		s.conns = append(s.conns, c)
	}
	s.Bind(s.now, c, choice, []ipvs.Protocol{ipvs.TCP, ipvs.UDP, ipvs.SCTP, ipvs.TCP}[b%4])
}

func (s *fuzzed) edit(a, b byte) {
	c := s.Config()
	c.Scheduler = s.name(a)
	c.Flags = ipvs.Flags(b) & (ipvs.Persistent | ipvs.SchedFlags)
	c.Timeout = time.Duration(b%4) * 10 * time.Second
	s.settings.ExpireQuiescentTemplate, s.settings.PromptThresholds = b&2 != 0, b&1 != 0
	if err := s.Update(s.now, c); err != nil {
		s.t.Fatal(err)
	}
}

func (s *fuzzed) check() {
	type sum struct{ active, inactive, persistent, cached int32 }
	want, got := map[*Server]sum{}, map[*Server]sum{}
	for _, d := range s.servers {
		want[d], got[d] = sum{}, sum{d.active, d.inactive, d.persistent, d.cached}
	}
	add := func(d *Server, plus sum) {
		w, known := want[d]
		if !known {
			s.t.Fatal("a server is referred to that is forgotten")
		}
		want[d] = sum{w.active + plus.active, w.inactive + plus.inactive, w.persistent + plus.persistent, w.cached + plus.cached}
	}
	holders := map[*template]int32{}
	for _, c := range s.conns {
		switch {
		case c.server == nil:
			continue
		case c.state.Active(c.protocol):
			add(c.server, sum{active: 1})
		default:
			add(c.server, sum{inactive: 1})
		}
		holders[c.template]++
	}
	for _, t := range s.templates.timers {
		add(t.server, sum{persistent: 1})
		if t.holders != holders[t] {
			s.t.Fatalf("a template has %d holders, want %d", t.holders, holders[t])
		}
	}
	s.cached(func(d *Server) { add(d, sum{cached: 1}) })
	for d := range want {
		if want[d] != got[d] {
			s.t.Fatalf("%s: active, inactive, persistent, cached %v, want %v", d.config.Addr, got[d], want[d])
		}
	}
}

// cached calls f for every reference of a cache.
func (s *fuzzed) cached(f func(*Server)) {
	switch l := s.scheduler.(type) {
	case *lblc:
		for _, e := range l.cache.buckets {
			for ; e != nil; e = e.next {
				f(e.value)
			}
		}
	case *lblcr:
		for _, e := range l.cache.buckets {
			for ; e != nil; e = e.next {
				for _, d := range e.value.servers {
					f(d)
				}
			}
		}
	}
}
