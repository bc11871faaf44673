package director

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

// TestDrainOverRestart: a service's own drain ends when it would have without a
// restart: of a server that left the file, of one that failed, and of a service
// whose drain is in no file any more.
func TestDrainOverRestart(t *testing.T) {
	less := testService(drain)
	less.Servers = less.Servers[:2]
	other := testService(named("other", "192.0.2.2:80"))
	for _, c := range []struct {
		name          string
		next          *Setup
		draining, end string
	}{
		{"a server that left the file", setupOf(less, other), "192.0.2.1:80 1:1 2:2 3:0", "192.0.2.1:80 1:1 2:2"},
		{"a server that failed", nil, "192.0.2.1:80 1:1 2:2 3:0", "192.0.2.1:80 1:1 2:2"},
		{"a service that left the file", setupOf(other), "192.0.2.1:80 3:0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := testService(drain, func(v *VirtualService) { v.Quiescent = false })
				setup := setupOf(v, other)
				setup.Settings.OnStop = StopKeep
				k := ipvstest.New(ipvstest.Options{})
				f := start(t, k, setup, Persistent{})
				f.verdict(v, Up, 1, 2, 3)
				k.CountDestination(v.Key(), addr(3), ipvstest.Load{Active: 1})
				if next := c.next; next != nil {
					next.Settings.OnStop = StopKeep
					if _, err := f.d.Reload(next, false); err != nil {
						t.Fatal(err)
					}
					setup = next
				} else {
					f.verdict(v, Down, 3)
				}
				time.Sleep(40 * time.Second) // of 60
				f.holds(c.draining + "\n192.0.2.2:80")
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				b, err := json.Marshal(f.saved)
				if err != nil {
					t.Fatal(err)
				}
				var saved Persistent
				if err := json.Unmarshal(b, &saved); err != nil {
					t.Fatal(err)
				}
				f = start(t, k, setup, saved)
				if c.next == nil {
					f.verdict(v, Down, 3)
				}
				time.Sleep(15 * time.Second)
				f.holds(c.draining + "\n192.0.2.2:80")
				time.Sleep(10 * time.Second)
				f.holds(strings.TrimPrefix(c.end+"\n192.0.2.2:80", "\n"))
			})
		})
	}
}

// TestRecallLeave: a clock that was set back between two runs gives a drain no more
// than it was given, and one without an end still has none.
func TestRecallLeave(t *testing.T) {
	for _, c := range []struct {
		name      string
		was, want Leave
		patience  time.Duration
	}{
		{"later", Leave{t0.Add(-time.Minute), t0.Add(time.Minute)}, Leave{t0.Add(-time.Minute), t0.Add(time.Minute)}, 2 * time.Minute},
		{"set back", Leave{t0.Add(time.Hour), t0.Add(time.Hour + time.Minute)}, Leave{t0, t0.Add(time.Minute)}, time.Minute},
		{"set back, no end", Leave{Since: t0.Add(time.Hour)}, Leave{Since: t0}, forever},
	} {
		var m Memory
		m.recall(t0, addr(1), c.was)
		if got := m.Leaving[addr(1)]; got != c.want || got.patience() != c.patience {
			t.Errorf("%s: %v, %v; want %v", c.name, got, got.patience(), c.want)
		}
	}
}

// TestForcedOverRestart: services that a forced reload took away, more than may go
// unasked, still go when the daemon is restarted while they drain.
func TestForcedOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, w, x := testService(drain), testService(drain, named("w", "192.0.2.2:80")), testService(named("x", "192.0.2.3:80"))
		k := ipvstest.New(ipvstest.Options{})
		f := start(t, k, setupOf(v, w, x), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		k.CountDestination(v.Key(), addr(3), ipvstest.Load{Active: 1})
		if _, err := f.d.Reload(setupOf(x), true); err != nil {
			t.Fatal(err)
		}
		f.holds("192.0.2.1:80 1:0 2:0 3:0\n192.0.2.3:80")
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f = start(t, k, setupOf(x), f.saved)
		if n := f.seen(OrphansKept); n != 0 {
			t.Errorf("kept, for want of --force")
		}
		time.Sleep(2 * time.Minute)
		f.holds("192.0.2.3:80")
	})
}
