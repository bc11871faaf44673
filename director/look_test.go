package director

import (
	"log/slog"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// interrupted is a tick during which somebody waits all the time, until it is
// done; between is called each time that it is broken off.
func interrupted(t *testing.T, s *state, between func(n int)) {
	t.Helper()
	for n := range 200 {
		if s.tick(func() bool { return true }) {
			if n == 0 {
				t.Error("it was never broken off")
			}
			return
		}
		between(n)
	}
	t.Fatal("a tick that is broken off again and again has no end")
}

func interruptible(t *testing.T, servers int) (*state, *ipvstest.Kernel, *[]*EventKind) {
	t.Helper()
	k := ipvstest.New(ipvstest.Options{})
	var seen []*EventKind
	s := newState(New(Options{Kernel: k, Log: slog.New(slog.DiscardHandler), Events: func(e Event) { seen = append(seen, e.Kind) }}), bigSetup(servers))
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	s.observe(verdicts(s.setup, Up))
	s.settle()
	s.tick(nil)
	seen = nil
	return s, k, &seen
}

// TestTickBrokenOff: a verdict waits for a few services to be read, not for all
// of them, the tick goes on where it was, and what was changed meanwhile is
// nobody's drift; what others did is repaired all the same.
func TestTickBrokenOff(t *testing.T) {
	s, k, seen := interruptible(t, 400)
	key := s.setup.Services[39].Key()
	victim := s.setup.Services[39].Servers[3].Destination
	if err := k.Other().Do(ipvs.Change{Op: ipvs.DeleteDestination, Service: ipvs.Service{ServiceKey: key}, Destination: victim}); err != nil {
		t.Fatal(err)
	}
	all, health := verdicts(s.setup, Down), Down
	reads := 0
	k.OnCall(func(c ipvstest.Call) {
		if c.Op == "list destinations" {
			reads++
		}
	})
	breaks := 0
	interrupted(t, s, func(n int) {
		breaks++
		i := n * 37 % 390
		all[i].Health = health
		reads = 0
		s.observe(all[i : i+1])
		s.settle()
		if reads > 4 { // those of its service
			t.Errorf("a verdict had %d listings made", reads)
		}
		reads = 0
	})
	if breaks < 10 {
		t.Errorf("broken off %d times only", breaks)
	}
	drift := 0
	for _, k := range *seen {
		if k == Drift {
			drift++
		}
	}
	if drift != 1 {
		t.Errorf("%d times drift, want that of others", drift)
	}
	if list, err := k.Destinations(key, nil); err != nil || len(list) != 10 {
		t.Errorf("%d servers in the service that others changed, %v", len(list), err)
	}
}

// TestTickIsNotStarved: a tick that nobody disturbed for a while goes on, too, once
// somebody waits all the time.
func TestTickIsNotStarved(t *testing.T) {
	s, k, _ := interruptible(t, 400)
	reads := 0
	k.OnCall(func(c ipvstest.Call) {
		if c.Op == "list destinations" {
			reads++
		}
	})
	if s.tick(func() bool { return reads >= 30 }) || reads < 30 {
		t.Fatalf("not broken off, or at once: %d reads", reads)
	}
	reads = 0
	if s.tick(func() bool { return true }) || reads == 0 {
		t.Errorf("%d reads of a tick that goes on", reads)
	}
}

// TestDrainWhileLookedAt: a connection that begins after a service was looked at
// and before its server is drained is seen: the server stays for it.
func TestDrainWhileLookedAt(t *testing.T) {
	s, k, _ := interruptible(t, 400)
	id := ServerID{}
	interrupted(t, s, func(int) {
		if id.Addr.IsValid() || s.looking == nil {
			return
		}
		for key := range s.looking.now.services {
			id = ServerID{key, s.services[key].Servers[0].Addr}
			k.CountDestination(key, id.Addr, ipvstest.Load{Active: 1})
			s.override(id, &Override{Kind: Drain}, "")
			s.settle()
			return
		}
	})
	s.tick(nil)
	list, err := k.Destinations(id.Service, nil)
	if err != nil || !id.Addr.IsValid() {
		t.Fatal(id, err)
	}
	for _, d := range list {
		if d.Addr == id.Addr {
			if d.Weight != 0 {
				t.Errorf("it has weight %d", d.Weight)
			}
			return
		}
	}
	t.Error("the drained server is gone, and its connection with it")
}
