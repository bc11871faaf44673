package director

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/internal/testserver"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fixture is a Director on a kernel in memory, with fake time.
type fixture struct {
	t    *testing.T
	k    *ipvstest.Kernel
	d    *Director
	log  *testserver.Buffer
	stop func() error

	mu     sync.Mutex
	saved  Persistent
	saves  int
	events []Event
}

func settings() Settings {
	return Settings{Reconcile: time.Second, MaxRemoval: 0.5, HoldShare: 1, HoldWindow: 15 * time.Second}
}

func setupOf(services ...*VirtualService) *Setup {
	s := &Setup{Settings: settings()}
	for _, v := range services {
		s.Services = append(s.Services, *v)
	}
	return s
}

// start runs a Director; it must be called in a synctest bubble.
func start(t *testing.T, k *ipvstest.Kernel, setup *Setup, restored Persistent) *fixture {
	t.Helper()
	return startWith(t, k, setup, Options{Restored: restored})
}

func startWith(t *testing.T, k *ipvstest.Kernel, setup *Setup, o Options) *fixture {
	t.Helper()
	f := &fixture{t: t, k: k, log: &testserver.Buffer{}}
	o.Kernel, o.Log = k, slog.New(slog.NewTextHandler(f.log, nil))
	o.Events = func(e Event) { f.mu.Lock(); defer f.mu.Unlock(); f.events = append(f.events, e) }
	o.Saved = func(p Persistent) { f.mu.Lock(); defer f.mu.Unlock(); f.saved, f.saves = p, f.saves+1 }
	f.d = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.d.Run(ctx, setup) }()
	var once sync.Once
	var result error
	f.stop = func() error {
		once.Do(func() { cancel(); result = <-done })
		return result
	}
	t.Cleanup(func() {
		_ = f.stop()
		if t.Failed() {
			t.Log(f.log.String())
		}
	})
	synctest.Wait()
	return f
}

// verdict has the checks of servers say something.
func (f *fixture) verdict(v *VirtualService, h Health, servers ...int) {
	var list []Result
	for _, n := range servers {
		reason := ""
		if h == Down {
			reason = "timed out"
		}
		list = append(list, Result{Server: ServerID{v.Key(), addr(n)}, Health: h, Reason: reason})
	}
	f.d.Observe(list)
	synctest.Wait()
}

// holds asserts what the kernel has.
func (f *fixture) holds(want string) {
	f.t.Helper()
	text, err := ipvstest.Text(f.k)
	if err != nil {
		f.t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(want), short(f.k, text)); diff != "" {
		f.t.Errorf("kernel (-want +got):\n%s", diff)
	}
}

// short is a table with a line for each service: "192.0.2.1:80 1:1 2:0".
func short(k *ipvstest.Kernel, _ string) string {
	var lines []string
	services, _ := k.Services()
	for _, s := range services {
		line := []string{s.Addr.String()}
		dests, _ := k.Destinations(s.ServiceKey, nil)
		list := map[string]int32{}
		var names []string
		for _, d := range dests {
			name := fmt.Sprint(d.Addr.Addr().As4()[3])
			if d.Addr.Addr().IsLoopback() {
				name = "F"
			}
			list[name] = d.Weight
			names = append(names, name)
		}
		for _, n := range []string{"1", "2", "3", "9", "F"} {
			if w, ok := list[n]; ok {
				line = append(line, fmt.Sprint(n, ":", w))
			}
		}
		if len(list) != len(names) {
			line = append(line, "(twice)")
		}
		lines = append(lines, strings.Join(line, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// seen counts the events of a kind.
func (f *fixture) seen(k *EventKind) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// TestLife is the main path: nobody gets traffic unchecked, a failed server is
// quiesced and comes back, the fallback stands in when all are gone.
func TestLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService(fallback)
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.holds("192.0.2.1:80")
		f.verdict(v, Up, 1, 2, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
		f.verdict(v, Down, 2)
		f.holds("192.0.2.1:80 1:1 2:0 3:3")
		f.verdict(v, Down, 1, 3)
		f.holds("192.0.2.1:80 1:0 2:0 3:0 F:1")
		f.verdict(v, Up, 2)
		f.holds("192.0.2.1:80 1:0 2:2 3:0 F:0")
		time.Sleep(2 * time.Second)
		f.holds("192.0.2.1:80 1:0 2:2 3:0") // nobody was reading its page
		if n := f.seen(FallbackOn); n != 1 {
			t.Errorf("%d times fallback_on", n)
		}
	})
}

// TestAllChecksMustPass: with several checks a server is in when the last of them
// has passed, and out when one fails.
func TestAllChecksMustPass(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		setup := setupOf(v)
		id := ServerID{v.Key(), addr(1)}
		setup.Subjects = []Subject{{Server: id}, {Server: id, Index: 1}}
		f := start(t, ipvstest.New(ipvstest.Options{}), setup, Persistent{})
		for _, step := range []struct {
			check int
			h     Health
			want  string
		}{{0, Up, ""}, {1, Unchecked, ""}, {1, Up, " 1:1"}, {0, Down, " 1:0"}, {1, Up, " 1:0"}, {0, Up, " 1:1"}, {1, Down, " 1:0"}} {
			f.d.Observe([]Result{{Server: id, Index: step.check, Health: step.h}})
			synctest.Wait()
			f.holds("192.0.2.1:80" + step.want)
		}
	})
}

// TestRestartWithFallback: a fallback that is in use when the daemon starts is
// known as one, so that its end is told, once, and its beginning is not told again.
func TestRestartWithFallback(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService(fallback)
		v.FallbackCommand = []string{"page"}
		k := ipvstest.New(ipvstest.Options{})
		var words []string
		run := func() *fixture {
			return startWith(t, k, setupOf(v), Options{Command: func(c Command) { words = append(words, c.Argv[1]) }})
		}
		f := run()
		f.verdict(v, Down, 1, 2, 3)
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f = run()
		f.verdict(v, Down, 1, 2, 3)
		f.holds("192.0.2.1:80 1:0 2:0 3:0 F:1")
		f.verdict(v, Up, 1)
		if got := strings.Join(words, " "); got != "start stop" {
			t.Errorf("the command was run with %q", got)
		}
		if f.seen(FallbackOn) != 0 || f.seen(FallbackOff) != 1 {
			t.Error("want the end of the fallback told and nothing else")
		}
	})
}

// TestReconcileOff: without looks at the kernel for the sake of drift, what
// leaves is still waited for and removed.
func TestReconcileOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v, w := testService(drain), testService(named("other", "192.0.2.2:80"))
		off := func(s *Setup) *Setup { s.Settings.Reconcile = 0; return s }
		f := start(t, ipvstest.New(ipvstest.Options{}), off(setupOf(v, w)), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		if err := f.k.Other().Do(ipvs.Change{Op: ipvs.UpdateDestination, Service: v.Service, Destination: ipvs.Destination{Addr: addr(1), Weight: 50}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		f.holds("192.0.2.1:80 1:50 2:2 3:3\n192.0.2.2:80")
		f.k.CountDestination(v.Key(), addr(2), ipvstest.Load{Active: 1})
		if _, err := f.d.Reload(off(setupOf(w)), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		f.holds("192.0.2.1:80 2:0\n192.0.2.2:80")
		f.k.CountDestination(v.Key(), addr(2), ipvstest.Load{})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		f.holds("192.0.2.2:80")
	})
}

// TestUnknownChangesNothing: trouble of our own is no verdict.
func TestUnknownChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(v, Unchecked, 1, 2, 3)
		time.Sleep(time.Minute)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestDrift: what others do to our services is undone within the reconcile
// time, their own services are not touched.
func TestDrift(t *testing.T) {
	others := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.99:80")), Scheduler: "rr"}
	tests := []struct {
		name   string
		do     func(k *ipvstest.Kernel, v *VirtualService) error
		report string // the table afterwards where drift is only reported
	}{
		{"a server removed", func(k *ipvstest.Kernel, v *VirtualService) error {
			return k.Do(ipvs.Change{Op: ipvs.DeleteDestination, Service: v.Service, Destination: ipvs.Destination{Addr: addr(1)}})
		}, "192.0.2.1:80 2:2 3:3"},
		{"a weight changed", func(k *ipvstest.Kernel, v *VirtualService) error {
			return k.Do(ipvs.Change{Op: ipvs.UpdateDestination, Service: v.Service, Destination: ipvs.Destination{Addr: addr(1), Weight: 50}})
		}, "192.0.2.1:80 1:50 2:2 3:3"},
		{"a foreign server", func(k *ipvstest.Kernel, v *VirtualService) error {
			return k.Do(ipvs.Change{Op: ipvs.AddDestination, Service: v.Service, Destination: ipvs.Destination{Addr: addr(9), Weight: 5}})
		}, "192.0.2.1:80 1:1 2:2 3:3 9:5"},
		{"the service removed", func(k *ipvstest.Kernel, v *VirtualService) error {
			return k.Do(ipvs.Change{Op: ipvs.DeleteService, Service: v.Service})
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				v := testService()
				k := ipvstest.New(ipvstest.Options{})
				if err := k.Other().Do(ipvs.Change{Op: ipvs.AddService, Service: others}); err != nil {
					t.Fatal(err)
				}
				f := start(t, k, setupOf(v), Persistent{})
				f.verdict(v, Up, 1, 2, 3)
				if err := tt.do(k.Other(), v); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				f.holds("192.0.2.1:80 1:1 2:2 3:3\n192.0.2.99:80")
				if n := f.seen(Drift); n != 1 {
					t.Errorf("%d times drift", n)
				}
				time.Sleep(time.Minute)
				if n := f.seen(Drift); n != 1 {
					t.Errorf("%d times drift after a quiet minute", n)
				}
			})
		})
		t.Run(tt.name+", reported only", func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				v := testService()
				k := ipvstest.New(ipvstest.Options{})
				setup := setupOf(v)
				setup.Settings.ReportDrift = true
				f := start(t, k, setup, Persistent{})
				f.verdict(v, Up, 1, 2, 3)
				if err := tt.do(k.Other(), v); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				f.holds(tt.report)
				if n := f.seen(Drift); n != 1 {
					t.Errorf("%d times drift", n)
				}
				f.verdict(v, Down, 2)
				f.holds(strings.Replace(tt.report, "2:2", "2:0", 1))
				time.Sleep(time.Minute)
				if n := f.seen(Drift); n != 1 {
					t.Errorf("%d times drift after a change of our own", n)
				}
			})
		})
	}
}

// TestAdopt: what the kernel has when the daemon starts stays as it is until
// checks say otherwise; nothing is flushed, nothing flaps.
func TestAdopt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService(fallback)
		k := ipvstest.New(ipvstest.Options{})
		o := k.Other()
		for _, c := range []ipvs.Change{
			{Op: ipvs.AddService, Service: v.Service},
			{Op: ipvs.AddDestination, Service: v.Service, Destination: v.Servers[0].Destination},
			{Op: ipvs.AddDestination, Service: v.Service, Destination: ipvs.Destination{Addr: addr(2)}},
		} {
			if err := o.Do(c); err != nil {
				t.Fatal(err)
			}
		}
		f := start(t, k, setupOf(v), Persistent{})
		f.holds("192.0.2.1:80 1:1 2:0")
		if n := f.seen(Drift) + f.seen(FallbackOn); n != 0 {
			t.Error("a start is no drift and needs no fallback")
		}
		f.verdict(v, Up, 1, 2, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestRestartForgetsNothing: a service that left the file while the daemon was
// dead is taken away, an override is still there.
func TestRestartForgetsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := ipvstest.New(ipvstest.Options{})
		v, w := testService(), testService(named("other", "192.0.2.2:80"))
		f := start(t, k, setupOf(v, w), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		if _, _, err := f.d.Override(Selector{Server: "10.0.0.1", Service: "web"}, &Override{Kind: Maintain, Reason: "disk"}); err != nil {
			t.Fatal(err)
		}
		f.holds("192.0.2.1:80 1:0 2:2 3:3\n192.0.2.2:80")
		saved := f.saved
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		g := start(t, k, setupOf(v), saved)
		g.holds("192.0.2.1:80 1:0 2:2 3:3")
		g.verdict(v, Up, 1, 2, 3)
		g.holds("192.0.2.1:80 1:0 2:2 3:3")
		if _, _, err := g.d.Override(Selector{Server: "10.0.0.1"}, nil); err != nil {
			t.Fatal(err)
		}
		g.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestManyLeave: what is to be remembered is made once when a hundred services
// go, not for each of them.
func TestManyLeave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var many []*VirtualService
		for i := range 100 {
			many = append(many, testService(named(fmt.Sprint("s", i), fmt.Sprintf("192.0.2.%d:80", i+1))))
		}
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(many...), Persistent{})
		f.mu.Lock()
		before := f.saves
		f.mu.Unlock()
		if _, err := f.d.Reload(setupOf(), true); err != nil {
			t.Fatal(err)
		}
		f.holds("")
		f.mu.Lock()
		defer f.mu.Unlock()
		if n := f.saves - before; n < 1 || n > 5 || len(f.saved.Owned) > 0 {
			t.Errorf("saved %d times, %d services remembered", n, len(f.saved.Owned))
		}
	})
}

// TestSaidAgain: a word that stands already changes nothing, is told nobody, and
// is still that of whoever said it first; one that says more is news.
func TestSaidAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		word := func(o Override) *Override { return &o }
		ann := Override{Kind: SetWeight, Weight: 7, Reason: "big", By: "ann"}
		until := time.Now().Add(time.Hour)
		for _, tt := range []struct {
			name, server string
			word         *Override
			changed      string
		}{
			{"nothing said", "rs1", nil, "[]"},
			{"said", "rs1", word(ann), "[10.0.0.1:80 of tcp 192.0.2.1:80]"},
			{"by another", "10.0.0.1", word(Override{Kind: SetWeight, Weight: 7, Reason: "big", By: "bob", Since: until}), "[]"},
			{"other weight", "rs1", word(Override{Kind: SetWeight, Weight: 8, Reason: "big", By: "ann"}), "[10.0.0.1:80 of tcp 192.0.2.1:80]"},
			{"other reason", "rs1", word(Override{Kind: SetWeight, Weight: 8, By: "ann"}), "[10.0.0.1:80 of tcp 192.0.2.1:80]"},
			{"with an end", "rs1", word(Override{Kind: SetWeight, Weight: 8, Until: until}), "[10.0.0.1:80 of tcp 192.0.2.1:80]"},
			{"with the same end", "rs1", word(Override{Kind: SetWeight, Weight: 8, Until: until}), "[]"},
			{"another kind", "rs1", word(Override{Kind: Drain}), "[10.0.0.1:80 of tcp 192.0.2.1:80]"},
			{"with a deadline", "rs1", word(Override{Kind: Drain, Deadline: until}), "[10.0.0.1:80 of tcp 192.0.2.1:80]"},
			{"taken back", "rs1", nil, "[10.0.0.1:80 of tcp 192.0.2.1:80]"},
			{"again", "rs1", nil, "[]"},
		} {
			before := f.seen(ServerOverride) + f.seen(ServerEnabled)
			ids, changed, err := f.d.Override(Selector{Server: tt.server}, tt.word)
			if err != nil || len(ids) != 1 || fmt.Sprint(changed) != tt.changed {
				t.Errorf("%s: %v, changed %v (want %s), %v", tt.name, ids, changed, tt.changed, err)
			}
			if told := f.seen(ServerOverride) + f.seen(ServerEnabled) - before; told != len(changed) {
				t.Errorf("%s: told %d times", tt.name, told)
			}
			if o := f.saved.Overrides[ids[0]]; tt.name == "by another" && (o == nil || o.By != "ann" || !o.Since.IsZero()) {
				t.Errorf("%s: saved %+v", tt.name, o)
			}
		}
	})
}

// TestWordFollowsTheName: what an operator said of a server that has a name is
// true of its next address, too, and not of another server of that address.
func TestWordFollowsTheName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		if _, _, err := f.d.Override(Selector{Server: "rs1"}, &Override{Kind: Maintain, Reason: "disk"}); err != nil {
			t.Fatal(err)
		}
		f.holds("192.0.2.1:80 1:0 2:2 3:3")
		at := func(n int) *VirtualService {
			return testService(func(v *VirtualService) { v.Servers[0].Addr = addr(n) })
		}
		for _, n := range []int{9, 1, 9} {
			if err := f.d.Rebind(setupOf(at(n))); err != nil {
				t.Fatal(err)
			}
			f.verdict(at(n), Up, n, 2, 3)
			f.holds(map[int]string{1: "192.0.2.1:80 1:0 2:2 3:3", 9: "192.0.2.1:80 2:2 3:3 9:0"}[n])
		}
		if len(f.saved.Overrides) != 1 || f.saved.Overrides[ServerID{v.Key(), addr(9)}] == nil {
			t.Errorf("saved %v", f.saved.Overrides)
		}
		if _, _, err := f.d.Override(Selector{Server: "rs1"}, nil); err != nil {
			t.Fatal(err)
		}
		f.holds("192.0.2.1:80 2:2 3:3 9:1")
	})
}

// TestWordFollowsTheNameOverRestart: it does so also when the name leads elsewhere
// since before the start, and the old address is another server's.
func TestWordFollowsTheNameOverRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		k := ipvstest.New(ipvstest.Options{})
		f := start(t, k, setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		if _, _, err := f.d.Override(Selector{Server: "rs1"}, &Override{Kind: Maintain, Reason: "disk"}); err != nil {
			t.Fatal(err)
		}
		f.holds("192.0.2.1:80 1:0 2:2 3:3")
		b, err := json.Marshal(f.saved)
		if err = errors.Join(err, f.stop()); err != nil {
			t.Fatal(err)
		}
		var saved Persistent
		if err := json.Unmarshal(b, &saved); err != nil {
			t.Fatal(err)
		}
		swapped := testService(func(v *VirtualService) { v.Servers[0].Addr, v.Servers[1].Addr = addr(9), addr(1) })
		g := start(t, k, setupOf(swapped), saved)
		g.verdict(swapped, Up, 9, 1, 3)
		g.holds("192.0.2.1:80 1:2 3:3 9:0")
	})
}

// TestDrainKeepsItsDeadline: an operator's drain ends when it was to end, also
// when another daemon has taken over meanwhile, not that much later.
func TestDrainKeepsItsDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := ipvstest.New(ipvstest.Options{})
		v := testService()
		f := start(t, k, setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		now := time.Now()
		if _, _, err := f.d.Override(Selector{Server: "10.0.0.1"}, &Override{Kind: Drain, Since: now, Deadline: now.Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		k.CountDestination(v.Key(), addr(1), ipvstest.Load{Active: 1})
		time.Sleep(50 * time.Second)
		f.holds("192.0.2.1:80 1:0 2:2 3:3")
		saved := f.saved
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}

		g := start(t, k, setupOf(v), saved)
		g.verdict(v, Up, 1, 2, 3)
		time.Sleep(8 * time.Second)
		g.holds("192.0.2.1:80 1:0 2:2 3:3")
		time.Sleep(4 * time.Second)
		g.holds("192.0.2.1:80 2:2 3:3")
		if err := g.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOrphansKept: a file that lacks nearly everything after a restart is more
// likely wrong than meant.
func TestOrphansKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := ipvstest.New(ipvstest.Options{})
		v, w, x := testService(), testService(named("b", "192.0.2.2:80")), testService(named("c", "192.0.2.3:80"))
		f := start(t, k, setupOf(v, w, x), Persistent{})
		saved := f.saved
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		g := start(t, k, setupOf(v), saved)
		g.holds("192.0.2.1:80\n192.0.2.2:80\n192.0.2.3:80")
		if g.seen(OrphansKept) != 1 {
			t.Error("want orphans_kept")
		}
	})
}

func named(name, vip string) func(*VirtualService) {
	return func(v *VirtualService) {
		v.Name = name
		v.Service.ServiceKey = ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort(vip))
	}
}

// TestReloadOfChecks: a service that is checked otherwise is one that changed.
func TestReloadOfChecks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v, w := testService(), testService(named("other", "192.0.2.2:80"))
		with := func(check healthcheck.Check, every time.Duration) *Setup {
			s := setupOf(v, w)
			s.Subjects = []Subject{{Server: ServerID{v.Key(), addr(1)}, Subject: healthcheck.Subject{Check: check, Schedule: healthcheck.Schedule{Interval: every}}}}
			return s
		}
		connect := healthcheck.Check{Type: "connect"}
		f := start(t, ipvstest.New(ipvstest.Options{}), with(connect, time.Second), Persistent{})
		for _, step := range []struct {
			check healthcheck.Check
			every time.Duration
			want  Reload
		}{
			{connect, time.Second, Reload{Kept: 2}},
			{connect, time.Minute, Reload{Changed: 1, Kept: 1}},
			{healthcheck.Check{Type: "http", Request: "/x"}, time.Minute, Reload{Changed: 1, Kept: 1}},
			{healthcheck.Check{Type: "http", Request: "/y"}, time.Minute, Reload{Changed: 1, Kept: 1}},
		} {
			r, err := f.d.Reload(with(step.check, step.every), false)
			if diff := cmp.Diff(step.want, r); diff != "" || err != nil {
				t.Errorf("%+v: %v, (-want +got):\n%s", step.check, err, diff)
			}
		}
	})
}

// TestFewerChecks: what a check said that has left the file does not count any more.
func TestFewerChecks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		with := func(n int) *Setup {
			s := setupOf(v)
			for i := range n {
				s.Subjects = append(s.Subjects, Subject{Server: ServerID{v.Key(), addr(1)}, Index: i, Subject: healthcheck.Subject{Check: healthcheck.Check{Type: "http", Request: fmt.Sprint("/", i)}}})
			}
			return s
		}
		f := start(t, ipvstest.New(ipvstest.Options{}), with(2), Persistent{})
		first := Result{Server: ServerID{v.Key(), addr(1)}, Health: Up}
		f.d.Observe([]Result{first, {Server: first.Server, Index: 1, Health: Down}})
		f.verdict(v, Up, 2, 3)
		f.holds("192.0.2.1:80 1:0 2:2 3:3")
		if _, err := f.d.Reload(with(1), false); err != nil {
			t.Fatal(err)
		}
		f.d.Observe([]Result{first})
		synctest.Wait()
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestObserve: results of who is not in the file harm nobody; a weight that a check
// says counts at once; warnings and what hinders a check are told once.
func TestObserve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2)
		of := func(n int) ServerID { return ServerID{v.Key(), addr(n)} }
		for range 2 {
			f.d.Observe([]Result{
				{Server: ServerID{testService(named("other", "192.0.2.2:80")).Key(), addr(1)}, Health: Down},
				{Server: of(77), Health: Up},
				{Server: of(1), Health: Up, Weight: healthcheck.Weight{Said: true, Value: 9}, Warning: "certificate ends"},
				{Server: of(3), Health: Unchecked, Reason: "no files left"},
			})
		}
		synctest.Wait()
		f.holds("192.0.2.1:80 1:9 2:2")
		for _, k := range []*EventKind{WeightSaid, CheckWarning, ServerUnknown} {
			if n := f.seen(k); n != 1 {
				t.Errorf("%s told %d times, want 1", k.Name, n)
			}
		}
	})
}

// TestReload: health stays by identity, a removed server goes, a new one gets
// traffic after its first success, and a reload that takes too much is refused.
func TestReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v, w := testService(), testService(named("other", "192.0.2.2:80"))
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v, w), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(v, Down, 2)
		next := testService(func(v *VirtualService) {
			v.Servers = append(v.Servers[1:2:2], RealServer{Destination: ipvs.Destination{Addr: addr(9), Weight: 4}})
		})
		r, err := f.d.Reload(setupOf(next, w), false)
		if diff := cmp.Diff(Reload{Changed: 1, Kept: 1}, r); diff != "" || err != nil {
			t.Errorf("%v, (-want +got):\n%s", err, diff)
		}
		f.holds("192.0.2.1:80 2:0\n192.0.2.2:80")
		f.verdict(next, Up, 9)
		f.holds("192.0.2.1:80 2:0 9:4\n192.0.2.2:80")

		// Thresholds alone are a change, too (keepalived forgets them).
		limited := testService(func(v *VirtualService) {
			v.Servers = []RealServer{{Destination: ipvs.Destination{Addr: addr(2), Weight: 2}}, {Destination: ipvs.Destination{Addr: addr(9), Weight: 4, Upper: 7, Lower: 3}}}
		})
		if _, err := f.d.Reload(setupOf(limited, w), false); err != nil {
			t.Fatal(err)
		}
		if text := f.k.String(); !strings.Contains(text, "10.0.0.9:80 nat weight 4 thresholds 7 3") {
			t.Error(text)
		}

		var many *ErrTooManyRemoved
		if _, err := f.d.Reload(setupOf(), false); !errors.As(err, &many) {
			t.Errorf("%v: want too many removed", err)
		}
		f.holds("192.0.2.1:80 2:0 9:4\n192.0.2.2:80")
		if r, err := f.d.Reload(setupOf(), true); err != nil || r.Removed != 2 {
			t.Error(r, err)
		}
		f.holds("")
	})
}

// TestReloadDrains: a service that leaves the file keeps its connections.
func TestReloadDrains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v, w := testService(drain), testService(named("other", "192.0.2.2:80"))
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v, w), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.k.CountDestination(v.Key(), addr(2), ipvstest.Load{Active: 1})
		if _, err := f.d.Reload(setupOf(w), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		f.holds("192.0.2.1:80 2:0\n192.0.2.2:80")
		f.k.CountDestination(v.Key(), addr(2), ipvstest.Load{})
		time.Sleep(2 * time.Second)
		f.holds("192.0.2.2:80")
		if f.seen(ServiceRemoved) != 1 {
			t.Error("want service_removed")
		}
		if n := f.seen(ServerDrained); n != 3 {
			t.Errorf("%d times server_drained, want it of each server", n)
		}
	})
}

// TestModuleReloaded: while IPVS is gone the daemon waits, and when it is back
// everything is put back.
func TestModuleReloaded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.k.Unload()
		time.Sleep(10 * time.Second)
		f.verdict(v, Down, 1)
		f.k.Load()
		time.Sleep(time.Second)
		synctest.Wait()
		f.holds("192.0.2.1:80 1:0 2:2 3:3")
		if f.seen(KernelLost) != 1 || f.seen(KernelBack) != 1 {
			t.Error("want kernel_lost and kernel_back once each:", f.seen(KernelLost), f.seen(KernelBack))
		}
	})
}

// TestGlobalsAreKept: timeouts and sync daemons are put right when others change
// them and when the kernel's IPVS comes anew; what the kernel refuses is said once
// and had as soon as it can be.
func TestGlobalsAreKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		setup := setupOf(v)
		setup.Settings.Timeouts = ipvs.Timeouts{TCP: 100 * time.Second}
		setup.Settings.Sync = []ipvs.Daemon{{State: ipvs.Master, Interface: "eth0", SyncID: 7}}
		f := start(t, ipvstest.New(ipvstest.Options{}), setup, Persistent{})
		right := func(when string) {
			t.Helper()
			synctest.Wait()
			have, _ := f.k.Timeouts()
			daemons, _ := f.k.Daemons()
			if have.TCP != 100*time.Second || len(daemons) != 1 || daemons[0].SyncID != 7 {
				t.Errorf("%s: %+v %+v", when, have, daemons)
			}
		}
		right("at the start")
		_ = f.k.SetTimeouts(ipvs.Timeouts{TCP: time.Second})
		_ = f.k.StopDaemon(setup.Settings.Sync[0])
		time.Sleep(time.Second)
		right("after others changed them")
		f.k.Unload()
		time.Sleep(10 * time.Second)
		f.k.Load()
		time.Sleep(2 * time.Second)
		right("after the module was reloaded")
		_ = f.k.StopDaemon(setup.Settings.Sync[0])
		f.k.Inject(ipvstest.Fault{Op: "start sync daemon", Err: unix.ENODEV, Times: 3})
		time.Sleep(time.Minute)
		right("when the kernel has thought better of it")
		if n := f.seen(KernelRefused); n != 1 {
			t.Errorf("a refusal was said %d times", n)
		}
	})
}

// TestSyncThatLeftTheFile: sync daemons that left the file while no daemon ran are
// stopped, as at a reload; those that stay are not touched, nor are others'.
func TestSyncThatLeftTheFile(t *testing.T) {
	master := ipvs.Daemon{State: ipvs.Master, Interface: "eth0", SyncID: 7, MaxLen: 1400}
	backup := ipvs.Daemon{State: ipvs.Backup, Interface: "eth0", SyncID: 7}
	foreign := ipvs.Daemon{State: ipvs.Backup, Interface: "eth0", SyncID: 9}
	for name, test := range map[string]struct {
		next, want []ipvs.Daemon
		meanwhile  func(*ipvstest.Kernel) error
	}{
		"all":   {nil, nil, nil},
		"one":   {[]ipvs.Daemon{master}, []ipvs.Daemon{master}, nil},
		"other": {nil, []ipvs.Daemon{foreign}, func(k *ipvstest.Kernel) error { return errors.Join(k.StopDaemon(backup), k.StartDaemon(foreign)) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				k := ipvstest.New(ipvstest.Options{})
				setup := setupOf(testService())
				setup.Settings.Sync = []ipvs.Daemon{master, backup}
				f := start(t, k, setup, Persistent{})
				b, err := json.Marshal(f.saved)
				if err = errors.Join(err, f.stop()); err != nil {
					t.Fatal(err)
				}
				if test.meanwhile != nil {
					if err := test.meanwhile(k); err != nil {
						t.Fatal(err)
					}
				}
				var saved Persistent
				if err := json.Unmarshal(b, &saved); err != nil {
					t.Fatal(err)
				}
				setup = setupOf(testService())
				setup.Settings.Sync = test.next
				started := 0
				k.OnCall(func(c ipvstest.Call) {
					if c.Op == "start sync daemon" {
						started++
					}
				})
				start(t, k, setup, saved)
				if have, err := k.Daemons(); err != nil || !sameDaemons(have, test.want) || started > 0 {
					t.Errorf("%d started, the kernel has %+v, %v, want %+v", started, have, err, test.want)
				}
			})
		})
	}
}

func sameDaemons(have, want []ipvs.Daemon) bool {
	return slices.EqualFunc(have, want, sameDaemon)
}

// TestRefusedServiceStopsNoOther: one service the kernel will not have, the
// rest runs, the refusal is said once and asked again without haste.
func TestRefusedServiceStopsNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bad := testService(named("bad", "192.0.2.2:80"), func(v *VirtualService) { v.Service.Scheduler = "nosuch" })
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(bad, v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
		time.Sleep(10 * time.Minute)
		if n := f.seen(KernelRefused); n != 1 {
			t.Errorf("said %d times", n)
		}
		if n := strings.Count(f.log.String(), "event=kernel_refused"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

// TestRefusalIsNotRetriedTightly: what the kernel refuses is asked for less and
// less often, however much else happens, and it is had when the kernel has thought
// better of it.
func TestRefusalIsNotRetriedTightly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		k := ipvstest.New(ipvstest.Options{})
		asked := 0
		k.OnCall(func(c ipvstest.Call) {
			if c.Op == "add service" {
				asked++
			}
		})
		k.Inject(ipvstest.Fault{Op: "add service", Times: -1, Err: unix.ENOMEM})
		f := start(t, k, setupOf(v), Persistent{})
		for range 600 {
			time.Sleep(time.Second)
			f.verdict(v, Up, 1, 2, 3)
		}
		if asked < 5 || asked > 30 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
		k.Heal()
		time.Sleep(time.Minute)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestBackInTheFile: a server that left the file and comes back is one that was
// never checked, whatever it was before.
func TestBackInTheFile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v, less := testService(), testService()
		less.Servers = less.Servers[1:]
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		for _, step := range []struct {
			v    *VirtualService
			want string
		}{{less, " 2:2 3:3"}, {v, " 2:2 3:3"}} {
			if _, err := f.d.Reload(setupOf(step.v), false); err != nil {
				t.Fatal(err)
			}
			f.holds("192.0.2.1:80" + step.want)
		}
		f.verdict(v, Up, 1)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestStopAtOnce: a stop that drains ends, with the services gone, when the
// operator has no more patience.
func TestStopAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		setup := setupOf(v)
		setup.Settings.OnStop = StopDrain
		abort := make(chan struct{})
		f := startWith(t, ipvstest.New(ipvstest.Options{}), setup, Options{Abort: abort})
		f.verdict(v, Up, 1, 2, 3)
		f.k.CountDestination(v.Key(), addr(2), ipvstest.Load{Active: 1})
		time.AfterFunc(time.Minute, func() { close(abort) })
		began := time.Now()
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f.holds("")
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

// TestDraining: whoever has to grant the time is told how long drains may still
// take, and nothing that asks for the services brings them back meanwhile.
func TestDraining(t *testing.T) {
	bubble(t, func(t *testing.T) {
		limited, unlimited := testService(func(v *VirtualService) { v.Drain = 2 * time.Minute }), testService(named("other", "192.0.2.2:80"))
		setup := setupOf(limited, unlimited)
		setup.Settings.OnStop = StopDrain
		var told []string
		f := startWith(t, ipvstest.New(ipvstest.Options{}), setup, Options{Draining: func(services int, left time.Duration) {
			if left%time.Minute == 0 {
				told = append(told, fmt.Sprint(services, " ", left))
			}
		}})
		for _, v := range []*VirtualService{limited, unlimited} {
			f.verdict(v, Up, 1, 2, 3)
			f.k.CountDestination(v.Key(), addr(2), ipvstest.Load{Active: 1})
		}
		refused := make(map[string]error)
		time.AfterFunc(30*time.Second, func() {
			_, refused["reload"] = f.d.Reload(setup, true)
			refused["new addresses"] = f.d.Rebind(setup)
			refused["an upgrade"] = f.d.Yield(func(Persistent, *Knowledge) bool { return true })
			_ = f.d.Beside(func(b Beside) {
				key := ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.3:80"))
				refused["a command"] = b.Put(map[ipvs.ServiceKey]*ipvs.Entry{key: {}}, Machine{})[key]
			})
		})
		time.AfterFunc(4*time.Minute, func() { f.k.CountDestination(unlimited.Key(), addr(2), ipvstest.Load{}) })
		began := time.Now()
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f.holds("")
		if took := time.Since(began).Round(10 * time.Second); took != 4*time.Minute {
			t.Errorf("took %v", took)
		}
		if got := strings.Join(slices.Compact(told), ", "); got != "2 2m0s, 2 1m0s, 1 0s" {
			t.Error(got)
		}
		for _, what := range []string{"reload", "new addresses", "an upgrade", "a command"} {
			if !errors.Is(refused[what], ErrStopped) {
				t.Errorf("%s: %v", what, refused[what])
			}
		}
	})
}

// TestSlowStart: a server that comes back climbs.
func TestSlowStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService(slow)
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
		f.verdict(v, Down, 3)
		f.verdict(v, Up, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:1")
		time.Sleep(21 * time.Second)
		f.holds("192.0.2.1:80 1:1 2:2 3:2")
		time.Sleep(10 * time.Second)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestReportedDriftChanges: drift that is only reported is told again when it is
// another one, and when it comes again.
func TestReportedDriftChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		setup := setupOf(v)
		setup.Settings.ReportDrift = true
		f := start(t, ipvstest.New(ipvstest.Options{}), setup, Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		foreign := ipvs.Change{Op: ipvs.AddDestination, Service: v.Service, Destination: ipvs.Destination{Addr: addr(9), Weight: 5}}
		gone := foreign
		gone.Op = ipvs.DeleteDestination
		heavy := ipvs.Change{Op: ipvs.UpdateDestination, Service: v.Service, Destination: ipvs.Destination{Addr: addr(1), Weight: 50}}
		light := heavy
		light.Destination.Weight = 1
		for i, c := range []ipvs.Change{foreign, heavy, light, gone, foreign} {
			if err := f.k.Other().Do(c); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				time.Sleep(2 * time.Second)
				f.verdict(v, Down, 3)
				f.verdict(v, Up, 3)
			}
			if n, want := f.seen(Drift), []int{1, 2, 3, 3, 4}[i]; n != want {
				t.Errorf("%d times drift after %v, want %d", n, c, want)
			}
		}
	})
}

// TestSlowStartOverRestart: a server goes on climbing from where it was when the
// daemon died, and not anew.
func TestSlowStartOverRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService(slow)
		k := ipvstest.New(ipvstest.Options{})
		f := start(t, k, setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(v, Down, 3)
		f.verdict(v, Up, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:1")
		time.Sleep(21 * time.Second)
		f.holds("192.0.2.1:80 1:1 2:2 3:2")
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		g := start(t, k, setupOf(v), f.saved)
		g.holds("192.0.2.1:80 1:1 2:2 3:2")
		g.verdict(v, Up, 1, 2, 3)
		g.holds("192.0.2.1:80 1:1 2:2 3:2")
		time.Sleep(6 * time.Second)
		g.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestWeightSaidOverRestart: an operator's weight does not climb.
func TestWeightSaidOverRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService(slow)
		k := ipvstest.New(ipvstest.Options{})
		f := start(t, k, setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		if _, _, err := f.d.Override(Selector{Server: "rs3"}, &Override{Kind: SetWeight, Weight: 2}); err != nil {
			t.Fatal(err)
		}
		f.holds("192.0.2.1:80 1:1 2:2 3:2")
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		start(t, k, setupOf(v), f.saved).holds("192.0.2.1:80 1:1 2:2 3:2")
	})
}

// TestMassFailure: all failing at once are held, said, and believed in the end.
func TestMassFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v, w := testService(fallback), testService(named("other", "192.0.2.2:80"))
		setup := setupOf(v, w)
		setup.Settings.HoldShare = 0.8
		f := start(t, ipvstest.New(ipvstest.Options{}), setup, Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(w, Up, 1, 2, 3)
		f.verdict(v, Down, 1)
		f.verdict(w, Down, 1, 2, 3)
		f.holds("192.0.2.1:80 1:0 2:2 3:3\n192.0.2.2:80 1:0 2:0 3:0")
		f.verdict(v, Down, 2, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:3\n192.0.2.2:80 1:1 2:2 3:3")
		time.Sleep(140 * time.Second)
		f.holds("192.0.2.1:80 1:1 2:2 3:3\n192.0.2.2:80 1:1 2:2 3:3")
		time.Sleep(20 * time.Second)
		f.holds("192.0.2.1:80 1:0 2:0 3:0 F:1\n192.0.2.2:80 1:0 2:0 3:0")
		if f.seen(HoldBegan) != 1 || f.seen(HoldEnded) != 1 {
			t.Error("want one hold", f.seen(HoldBegan), f.seen(HoldEnded))
		}
	})
}

// TestMassFailureHasNoSlowStart: servers that were held have never left, so they
// do not climb when they are well again.
func TestMassFailureHasNoSlowStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService(slow)
		setup := setupOf(v)
		setup.Settings.HoldShare = 0.8
		f := start(t, ipvstest.New(ipvstest.Options{}), setup, Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(v, Down, 1, 2, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
		f.verdict(v, Up, 1, 2, 3)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// TestMassFailureOverRestart: a mass failure is held on after a restart, for what
// is left of its time, also when most servers are out by an operator's word or file;
// what the kernel has lost meanwhile is not.
func TestMassFailureOverRestart(t *testing.T) {
	const flushed, clockSetBack, files = "flushed", "the clock set back", "nothing, and files"
	for _, meanwhile := range []string{"nothing", flushed, clockSetBack, files} {
		t.Run(meanwhile, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				v := testService()
				setup := setupOf(v)
				setup.Settings.HoldShare = 0.8
				k := ipvstest.New(ipvstest.Options{})
				f := start(t, k, setup, Persistent{})
				f.verdict(v, Up, 1, 2, 3)
				for _, rs := range []string{"rs1", "rs2"} {
					if meanwhile == files {
						continue
					}
					if _, _, err := f.d.Override(Selector{Server: rs}, &Override{Kind: Drain}); err != nil {
						t.Fatal(err)
					}
				}
				others := "192.0.2.1:80 "
				if meanwhile == files {
					others += "1:0 2:0 "
					if err := f.d.Maintain(map[string]bool{"10.0.0.1": true, "10.0.0.2:80": true}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(3 * time.Second)
				f.holds(others + "3:3")
				f.verdict(v, Down, 1, 2, 3)
				f.holds(others + "3:3")
				time.Sleep(100 * time.Second)
				b, err := json.Marshal(f.saved) // as it is when the daemon is killed
				if err = errors.Join(err, f.stop()); err != nil {
					t.Fatal(err)
				}
				var saved Persistent
				if err := json.Unmarshal(b, &saved); err != nil {
					t.Fatal(err)
				}
				switch meanwhile {
				case clockSetBack:
					saved.Hold.Since = saved.Hold.Since.AddDate(1, 0, 0)
				case flushed:
					if err := k.Other().Do(ipvs.Change{Op: ipvs.DeleteService, Service: v.Service}); err != nil {
						t.Fatal(err)
					}
				}
				g := start(t, k, setup, saved)
				g.verdict(v, Down, 1, 2, 3)
				if meanwhile == flushed {
					g.holds(others + "3:0")
					return
				}
				if meanwhile == clockSetBack {
					time.Sleep(100 * time.Second) // all of its time is left
				}
				g.holds(others + "3:3")
				time.Sleep(30 * time.Second)
				g.holds(others + "3:3")
				time.Sleep(30 * time.Second)
				g.holds(others + "3:0")
				if g.seen(HoldEnded) != 1 {
					t.Error("want the end of the hold told")
				}
			})
		})
	}
}

// TestFilesOverRestart: after a restart a maintenance file counts before the folder
// has been read again, also when the machine has rebooted meanwhile.
func TestFilesOverRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		v.UncheckedUp = true
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		if err := f.d.Maintain(map[string]bool{"10.0.0.1": true}); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(f.saved)
		if err = errors.Join(err, f.stop()); err != nil {
			t.Fatal(err)
		}
		var saved Persistent
		if err := json.Unmarshal(b, &saved); err != nil {
			t.Fatal(err)
		}
		g := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), saved)
		g.holds("192.0.2.1:80 1:0 2:2 3:3")
		if err := g.d.Maintain(nil); err != nil {
			t.Fatal(err)
		}
		g.holds("192.0.2.1:80 1:1 2:2 3:3")
	})
}

// withPaths is a service whose servers are checked by the path.
func withPaths(v *VirtualService) *Setup {
	setup := setupOf(v)
	for n := range v.Servers {
		setup.Services = append(setup.Services, VirtualService{Service: ipvs.Service{ServiceKey: ipvs.MarkService(firstMark+uint32(n), ipvs.IPv4), Scheduler: "rr"},
			Servers: v.Servers[n : n+1], UncheckedUp: true, Path: true})
	}
	return setup
}

// TestOrphansByPath: services for checks are not of the file, and go when nothing
// is checked so any more, however many they were.
func TestOrphansByPath(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := ipvstest.New(ipvstest.Options{})
		v := testService()
		f := start(t, k, withPaths(v), Persistent{})
		saved := f.saved
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		g := start(t, k, setupOf(v), saved)
		g.holds("192.0.2.1:80")
		if g.seen(OrphansKept) != 0 {
			t.Error("services for checks were counted as the operator's")
		}
	})
}

// TestMassFailureByPath: the services by which checks go are nobody's servers.
func TestMassFailureByPath(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		setup := withPaths(v)
		setup.Settings.HoldShare = 0.8
		f := start(t, ipvstest.New(ipvstest.Options{}), setup, Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(v, Down, 1, 2, 3)
		if f.seen(HoldBegan) != 1 {
			t.Error("all servers failed at once, and nothing was held")
		}
	})
}

// TestWhyDown: a service that is down says what its quorum lacks, and nothing of
// servers that are well.
func TestWhyDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService(func(v *VirtualService) { v.Quorum = 5; v.Servers[0].Weight = 0 })
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		f.verdict(v, Down, 3)
		if want := `event=service_down vs=web reason="weights of 2 where the quorum is 5; weight 0; timed out"`; !strings.Contains(f.log.String(), want) {
			t.Errorf("want %s in\n%s", want, f.log)
		}
	})
}

// TestOverrideExpires: maintenance ends by itself.
func TestOverrideExpires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := testService()
		f := start(t, ipvstest.New(ipvstest.Options{}), setupOf(v), Persistent{})
		f.verdict(v, Up, 1, 2, 3)
		if _, _, err := f.d.Override(Selector{Server: "10.0.0.1:80"}, &Override{Kind: Maintain, Until: time.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		f.holds("192.0.2.1:80 1:0 2:2 3:3")
		time.Sleep(61 * time.Second)
		f.holds("192.0.2.1:80 1:1 2:2 3:3")
		if len(f.saved.Overrides) != 0 {
			t.Error(f.saved)
		}
		if _, _, err := f.d.Override(Selector{Server: "10.0.0.77"}, nil); !errors.Is(err, ErrNoServer) {
			t.Error(err)
		}
	})
}

// TestStop: what happens to the services is the file's choice.
func TestStop(t *testing.T) {
	for mode, want := range map[StopMode]string{StopKeep: "192.0.2.1:80 1:1 2:2 3:3\n192.0.2.2:80 2:2", StopFlush: "", StopDrain: ""} {
		t.Run(string(mode), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				v, w := testService(), testService(named("other", "192.0.2.2:80"))
				setup := setupOf(v, w)
				setup.Settings.OnStop = mode
				f := start(t, ipvstest.New(ipvstest.Options{}), setup, Persistent{})
				f.verdict(v, Up, 1, 2, 3)
				f.verdict(w, Up, 2)
				f.k.CountDestination(v.Key(), addr(2), ipvstest.Load{Active: 1})
				time.AfterFunc(20*time.Second, func() { f.k.CountDestination(v.Key(), addr(2), ipvstest.Load{}) })
				began := time.Now()
				if err := f.stop(); err != nil {
					t.Fatal(err)
				}
				f.holds(want)
				if owned := len(f.saved.Owned) > 0; owned != (mode == StopKeep) {
					t.Errorf("services of ours in the state: %v", f.saved.Owned)
				}
				if waited := time.Since(began) > 10*time.Second; waited != (mode == StopDrain) {
					t.Errorf("took %v", time.Since(began))
				}
			})
		})
	}
}
