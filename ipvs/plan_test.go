package ipvs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// table reads a test's notation: "svc tcp:10.0.0.1:80 wlc" starts a service,
// "10.1.0.1:80 3 [METHOD [UPPER]]" adds a destination to it, "local 10.2.0.1" a
// local address.
func table(t testing.TB, text string) (out Table) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "svc":
			s := Service{ServiceKey: AddrService(TCP, netip.MustParseAddrPort(f[1])), Scheduler: f[2]}
			out = append(out, Entry{Service: s})
		case f[0] == "local":
			e := &out[len(out)-1]
			e.Locals = append(e.Locals, netip.MustParseAddr(f[1]))
		default:
			d := Destination{Addr: netip.MustParseAddrPort(f[0])}
			if _, err := fmt.Sscan(f[1], &d.Weight); err != nil {
				t.Fatal(err)
			}
			if len(f) > 2 {
				if err := d.Method.UnmarshalText([]byte(f[2])); err != nil {
					t.Fatal(err)
				}
			}
			if len(f) > 3 {
				if _, err := fmt.Sscan(f[3], &d.Upper); err != nil {
					t.Fatal(err)
				}
			}
			e := &out[len(out)-1]
			e.Destinations = append(e.Destinations, d)
		}
	}
	return out
}

func text(plan []Change) string {
	var b strings.Builder
	for _, c := range plan {
		b.WriteString(c.String())
		if c.Op == AddDestination || c.Op == UpdateDestination {
			fmt.Fprintf(&b, " weight %d", c.Destination.Weight)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	tests := []struct{ name, have, want, plan string }{
		{"nothing to do", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1", ""},
		{"both empty", "", "", ""},
		{"new service with its servers in their order", "", "svc 10.0.0.1:80 rr\n10.1.0.2:80 1\n10.1.0.1:80 1",
			"add service tcp 10.0.0.1:80 rr\nadd destination 10.1.0.2:80 of tcp 10.0.0.1:80 weight 1\nadd destination 10.1.0.1:80 of tcp 10.0.0.1:80 weight 1\n"},
		{"a removed service takes its servers along", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1", "",
			"delete service tcp 10.0.0.1:80\n"},
		{"add before remove", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1", "svc 10.0.0.1:80 rr\n10.1.0.2:80 1",
			"add destination 10.1.0.2:80 of tcp 10.0.0.1:80 weight 1\ndelete destination 10.1.0.1:80 of tcp 10.0.0.1:80\n"},
		{"raise before lower", "svc 10.0.0.1:80 rr\n10.1.0.1:80 5\n10.1.0.2:80 1", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1\n10.1.0.2:80 5",
			"update destination 10.1.0.2:80 of tcp 10.0.0.1:80 weight 5\nupdate destination 10.1.0.1:80 of tcp 10.0.0.1:80 weight 1\n"},
		{"a threshold where none was lowers", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1", "svc 10.0.0.1:80 rr\n10.1.0.1:80 2 nat 10\n10.1.0.2:80 1",
			"add destination 10.1.0.2:80 of tcp 10.0.0.1:80 weight 1\nupdate destination 10.1.0.1:80 of tcp 10.0.0.1:80 weight 2\n"},
		{"a threshold lowers that is lower than it was", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1 nat 20\n10.1.0.2:80 1 nat 10",
			"svc 10.0.0.1:80 rr\n10.1.0.1:80 1 nat 10\n10.1.0.2:80 1 nat 20",
			"update destination 10.1.0.2:80 of tcp 10.0.0.1:80 weight 1\nupdate destination 10.1.0.1:80 of tcp 10.0.0.1:80 weight 1\n"},
		{"no threshold any more raises", "svc 10.0.0.1:80 rr\n10.1.0.1:80 2\n10.1.0.2:80 1 nat 10", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1\n10.1.0.2:80 1",
			"update destination 10.1.0.2:80 of tcp 10.0.0.1:80 weight 1\nupdate destination 10.1.0.1:80 of tcp 10.0.0.1:80 weight 1\n"},
		{"local addresses come before servers and go last", "svc 10.0.0.1:80 rr\nlocal 10.2.0.1\nlocal 10.2.0.2\n10.1.0.1:80 1",
			"svc 10.0.0.1:80 rr\nlocal 10.2.0.2\nlocal 10.2.0.3\nlocal 10.2.0.3\n10.1.0.1:80 1\n10.1.0.2:80 1",
			"add local address 10.2.0.3 of tcp 10.0.0.1:80\nadd destination 10.1.0.2:80 of tcp 10.0.0.1:80 weight 1\n" +
				"delete local address 10.2.0.1 of tcp 10.0.0.1:80\n"},
		{"scheduler and method are updates", "svc 10.0.0.1:80 rr\n10.1.0.1:80 1", "svc 10.0.0.1:80 wlc\n10.1.0.1:80 1 dr",
			"update service tcp 10.0.0.1:80 wlc\nupdate destination 10.1.0.1:80 of tcp 10.0.0.1:80 weight 1\n"},
		{"every service grows before any shrinks",
			"svc 10.0.0.1:80 rr\n10.1.0.1:80 1\nsvc 10.0.0.3:80 rr", "svc 10.0.0.2:80 rr\n10.1.0.1:80 1\nsvc 10.0.0.1:80 rr\n10.1.0.2:80 1",
			"add destination 10.1.0.2:80 of tcp 10.0.0.1:80 weight 1\nadd service tcp 10.0.0.2:80 rr\nadd destination 10.1.0.1:80 of tcp 10.0.0.2:80 weight 1\n" +
				"delete destination 10.1.0.1:80 of tcp 10.0.0.1:80\ndelete service tcp 10.0.0.3:80\n"},
		{"of what is named twice the last counts", "", "svc 10.0.0.1:80 rr\nsvc 10.0.0.1:80 wlc\n10.1.0.1:80 1\n10.1.0.1:80 2",
			"add service tcp 10.0.0.1:80 wlc\nadd destination 10.1.0.1:80 of tcp 10.0.0.1:80 weight 2\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := text(Plan(table(t, tt.have), table(t, tt.want)))
			if diff := cmp.Diff(tt.plan, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanIgnoresEncapOfOtherMethods(t *testing.T) {
	have, want := table(t, "svc 10.0.0.1:80 rr\n10.1.0.1:80 1 dr"), table(t, "svc 10.0.0.1:80 rr\n10.1.0.1:80 1 dr")
	have[0].Destinations[0].Encap = Encap{Type: GUE, Port: 6080}
	if plan := Plan(have, want); len(plan) != 0 {
		t.Errorf("a DR server has no encapsulation, yet the plan is\n%s", text(plan))
	}
	have[0].Destinations[0].Method, want[0].Destinations[0].Method = Tunnel, Tunnel
	want[0].Destinations[0].Encap = Encap{Type: GUE, Port: 6081}
	if plan := Plan(have, want); len(plan) != 1 || plan[0].Destination.Encap != want[0].Destinations[0].Encap {
		t.Errorf("a tunnel has one, and the plan is\n%s", text(plan))
	}
}

// model is a table being changed step by step.
type model map[ServiceKey]*modelService
type modelService struct {
	Service      Service
	Destinations map[netip.AddrPort]Destination
}

func newModel(t Table) model {
	m := model{}
	for _, e := range t {
		m[e.Service.ServiceKey] = &modelService{e.Service, map[netip.AddrPort]Destination{}}
		for _, d := range e.Destinations {
			m[e.Service.ServiceKey].Destinations[d.Addr] = d
		}
	}
	return m
}

// apply makes one change as strictly as the kernel would.
func (m model) apply(t *testing.T, c Change) {
	t.Helper()
	s := m[c.Service.ServiceKey]
	if (s == nil) != (c.Op == AddService) {
		t.Fatalf("%v: service exists: %v", c, s != nil)
	}
	if c.Op >= AddDestination {
		if _, ok := s.Destinations[c.Destination.Addr]; ok == (c.Op == AddDestination) {
			t.Fatalf("%v: destination exists: %v", c, ok)
		}
	}
	switch c.Op {
	case AddService:
		m[c.Service.ServiceKey] = &modelService{c.Service, map[netip.AddrPort]Destination{}}
	case UpdateService:
		s.Service = c.Service
	case DeleteService:
		delete(m, c.Service.ServiceKey)
	case AddDestination, UpdateDestination:
		s.Destinations[c.Destination.Addr] = c.Destination
	case DeleteDestination:
		delete(s.Destinations, c.Destination.Addr)
	}
}

func (m model) weight(k ServiceKey) (w int64) {
	if s := m[k]; s != nil {
		for _, d := range s.Destinations {
			w += int64(d.Weight)
		}
	}
	return w
}

func randomTable(r *rand.Rand) (t Table) {
	for s := range 6 {
		if r.IntN(3) == 0 {
			continue
		}
		e := Entry{Service: Service{ServiceKey: AddrService(TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(s)}), 80)),
			Scheduler: []string{"rr", "wlc"}[r.IntN(2)]}}
		for d := range 6 {
			if r.IntN(2) == 0 {
				e.Destinations = append(e.Destinations, Destination{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(d)}), 80),
					Weight: int32(r.IntN(4)), Method: Method(r.IntN(2) * 3)})
			}
		}
		r.Shuffle(len(e.Destinations), func(i, j int) {
			e.Destinations[i], e.Destinations[j] = e.Destinations[j], e.Destinations[i]
		})
		t = append(t, e)
	}
	r.Shuffle(len(t), func(i, j int) { t[i], t[j] = t[j], t[i] })
	return t
}

// TestPlanReaches: carried out step by step, a plan ends at want, never lets a
// service's weight dip below the lesser of both ends, and touches nothing twice.
func TestPlanReaches(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		have, want := randomTable(r), randomTable(r)
		at, end := newModel(have), newModel(want)
		floor := map[ServiceKey]int64{}
		for k := range maps.Keys(end) {
			floor[k] = min(at.weight(k), end.weight(k))
		}
		plan := Plan(have, want)
		touched := map[string]bool{}
		for _, c := range plan {
			at.apply(t, c)
			object := fmt.Sprint(c.Op < AddDestination, c.Service.ServiceKey, c.Destination.Addr)
			if touched[object] {
				t.Fatalf("%v: touched twice in\n%s", c, text(plan))
			}
			touched[object] = true
			for k, f := range floor {
				if at.weight(k) < f {
					t.Fatalf("%v: %v dips to weight %d, below %d\n%s", c, k, at.weight(k), f, text(plan))
				}
			}
		}
		if diff := cmp.Diff(end, at, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.AllowUnexported(Netmask{})); diff != "" {
			t.Fatalf("plan does not reach what is wanted:\n%s", diff)
		}
		if again := Plan(want, want); len(again) != 0 {
			t.Fatalf("planned twice:\n%s", text(again))
		}
	}
}

func TestPlanIsTheSameWhateverTheOrderOfHave(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		have, want := randomTable(r), randomTable(r)
		first := text(Plan(have, want))
		slices.Reverse(have)
		if diff := cmp.Diff(first, text(Plan(have, want))); diff != "" {
			t.Fatal(diff)
		}
	}
}
