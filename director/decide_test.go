package director

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func addr(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 80)
}

// service has three real servers, 10.0.0.1 to 10.0.0.3, of weights 1, 2, 3.
func testService(change ...func(*VirtualService)) *VirtualService {
	v := &VirtualService{
		Name:      "web",
		Service:   ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:80")), Scheduler: "wlc"},
		Quiescent: true,
	}
	for n := range 3 {
		v.Servers = append(v.Servers, RealServer{Name: fmt.Sprint("rs", n+1), Destination: ipvs.Destination{Addr: addr(n + 1), Weight: int32(n + 1)}})
	}
	for _, f := range change {
		f(v)
	}
	return v
}

func removing(v *VirtualService) { v.Quiescent = false }
func fallback(v *VirtualService) {
	v.Fallback = []ipvs.Destination{{Addr: netip.MustParseAddrPort("127.0.0.1:80")}}
}

func lastResort(v *VirtualService) { v.Fallback = []ipvs.Destination{{Addr: addr(1)}} }

func memory(servers ...Server) *Memory {
	m := &Memory{}
	for i, s := range servers {
		*m.Server(addr(i + 1)) = s
	}
	return m
}

// text is the wanted entry: "1:1 2:0" are servers 10.0.0.1 with weight 1 and
// 10.0.0.2 with 0; F is the fallback.
func text(d Decision) string {
	var words []string
	for _, dest := range d.Entry.Destinations {
		name := "F"
		if a := dest.Addr.Addr().As4(); a[0] == 10 {
			name = fmt.Sprint(a[3])
		}
		words = append(words, fmt.Sprint(name, ":", dest.Weight))
	}
	switch {
	case d.Pending:
		words = append(words, "pending")
	case !d.Up:
		words = append(words, "down")
	}
	return strings.Join(words, " ")
}

func TestDecide(t *testing.T) {
	up, down := Server{Health: Up}, Server{Health: Down}
	said := func(o Override) Server { return Server{Health: Up, Override: &o} }
	tests := []struct {
		name string
		v    *VirtualService
		m    *Memory
		want string
	}{
		{"never checked: nobody gets traffic, nothing is called down", testService(fallback), memory(), "pending"},
		{"never checked counts as up when the file says so", testService(func(v *VirtualService) { v.UncheckedUp = true }), memory(), "1:1 2:2 3:3"},
		{"all up", testService(fallback), memory(up, up, up), "1:1 2:2 3:3"},
		{"a failed server is quiesced", testService(), memory(up, down, up), "1:1 2:0 3:3"},
		{"or removed", testService(removing), memory(up, down, up), "1:1 3:3"},
		{"one unchecked, the rest up", testService(), memory(up, Server{}, up), "1:1 3:3"},
		{"all down: the fallback beside the quiesced", testService(fallback), memory(down, down, down), "1:0 2:0 3:0 F:1 down"},
		{"all down: the fallback alone", testService(fallback, removing), memory(down, down, down), "F:1 down"},
		{"all down: the fallback is one of them", testService(lastResort), memory(down, down, down), "1:1 2:0 3:0 down"},
		{"a fallback that is one of the servers and fails alone", testService(lastResort), memory(down, up, up), "1:0 2:2 3:3"},
		{"all down: two fallbacks", testService(func(v *VirtualService) { v.Fallback = []ipvs.Destination{{Addr: addr(8)}, {Addr: addr(2)}} }),
			memory(down, down, down), "1:0 2:1 3:0 8:1 down"},
		{"all down and no fallback", testService(), memory(down, down, down), "1:0 2:0 3:0 down"},
		{"two down, one never checked: too early for the fallback", testService(fallback), memory(down, down), "1:0 2:0 pending"},
		{"adopted servers stay until their first verdict", testService(fallback), memory(
			Server{Adopted: true, AdoptedIn: true}, Server{Adopted: true}, Server{}), "1:1 2:0"},
		{"an adopted one that fails is quiesced", testService(), memory(Server{Health: Down, Adopted: true, AdoptedIn: true}, up, up), "1:0 2:2 3:3"},
		{"held servers stay", testService(), memory(Server{Health: Down, Held: true}, Server{Health: Down, Held: true}, down), "1:1 2:2 3:0"},

		{"drained and idle: gone", testService(), memory(said(Override{Kind: Drain}), up, up), "2:2 3:3"},
		{"maintained: as if it had failed", testService(), memory(said(Override{Kind: Maintain}), up, up), "1:0 2:2 3:3"},
		{"maintained: as if it had failed, removed", testService(removing), memory(said(Override{Kind: Maintain}), up, up), "2:2 3:3"},
		{"maintained until a minute ago", testService(), memory(said(Override{Kind: Maintain, Until: t0.Add(-time.Minute)}), up, up), "1:1 2:2 3:3"},
		{"another weight", testService(), memory(said(Override{Kind: SetWeight, Weight: 7}), up, up), "1:7 2:2 3:3"},
		{"weight 0 quiesces", testService(removing), memory(said(Override{Kind: SetWeight}), up, up), "1:0 2:2 3:3"},
		{"another weight does not bring a dead server back", testService(), memory(
			Server{Health: Down, Override: &Override{Kind: SetWeight, Weight: 7}}, up, up), "1:0 2:2 3:3"},
		{"a maintenance file", testService(), memory(Server{Health: Up, Maintenance: "10.0.0.1"}, up, up), "1:0 2:2 3:3"},
		{"all drained: the fallback", testService(fallback), memory(said(Override{Kind: Drain}), said(Override{Kind: Drain}), said(Override{Kind: Drain})), "F:1 down"},

		{"quorum reached", testService(fallback, quorum(4)), memory(up, down, up), "1:1 2:0 3:3"},
		{"quorum missed: the fallback stands in for the few that are left", testService(fallback, quorum(4)), memory(up, up, down), "1:0 2:0 3:0 F:1 down"},
		{"quorum missed and no fallback: few are better than none", testService(quorum(4)), memory(up, up, down), "1:1 2:2 3:0 down"},
		{"quorum missed and a command alone: likewise", testService(quorum(4), func(v *VirtualService) { v.FallbackCommand = []string{"true"} }),
			memory(up, up, down), "1:1 2:2 3:0 down"},
		{"slow start counts in full for the quorum", testService(fallback, quorum(6), slow), memory(up, up, Server{Health: Up, Ramp: t0}), "1:1 2:2 3:1"},
		{"slow start", testService(slow), memory(up, up, Server{Health: Up, Ramp: t0.Add(-20 * time.Second)}), "1:1 2:2 3:2"},
		{"weight 0 in slow start", testService(slow), memory(said(Override{Kind: SetWeight}), up, Server{Health: Up, Ramp: t0, Override: &Override{Kind: SetWeight}}), "1:0 2:2 3:0"},
		{"slow start is over", testService(slow), memory(up, up, Server{Health: Up, Ramp: t0.Add(-30 * time.Second)}), "1:1 2:2 3:3"},
		{"a weight of 0 in the file", testService(func(v *VirtualService) { v.Servers[0].Weight = 0 }), memory(up, up, up), "1:0 2:2 3:3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Decide(t0, tt.v, tt.m, nil)
			if diff := cmp.Diff(tt.want, text(d)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if d.Fallback && tt.v.Fallback == nil && tt.v.FallbackCommand == nil {
				t.Error("a fallback is in use, and there is none")
			}
		})
	}
}

// TestStandings: what status says of a server, and why.
func TestStandings(t *testing.T) {
	nine := healthcheck.Weight{Said: true, Value: 9}
	for name, test := range map[string]struct {
		s     Server
		place Place
		cause Cause
	}{
		"healthy":                     {Server{Health: Up}, In, CauseHealthy},
		"by a weight of its check":    {Server{Health: Up, Weight: nine}, In, CauseDynamic},
		"held, with such a weight":    {Server{Health: Down, Held: true, Weight: nine}, In, CauseHeld},
		"slow start":                  {Server{Health: Up, Weight: nine, Ramp: t0}, In, CauseSlowStart},
		"its check says 0":            {Server{Health: Up, Weight: healthcheck.Weight{Said: true}}, Quiesced, CauseDynamic},
		"a word that has ended":       {Server{Health: Up, Override: &Override{Kind: SetWeight, Until: t0}}, In, CauseHealthy},
		"adopted with weight 0":       {Server{Adopted: true}, Quiesced, CauseAdopted},
		"failed":                      {Server{Health: Down}, Quiesced, CauseFailed},
		"maintained, and failed":      {Server{Health: Down, Override: &Override{Kind: Maintain}}, Quiesced, CauseMaintain},
		"drained, and a file, failed": {Server{Health: Down, Maintenance: "rs1", Override: &Override{Kind: Drain}}, Absent, CauseDrain},
	} {
		if got := Decide(t0, testService(slow), memory(test.s), nil).Standings[0]; got.Place != test.place || got.Cause != test.cause {
			t.Errorf("%s: %v, %v, want %v, %v", name, got.Place, got.Cause, test.place, test.cause)
		}
	}
}

// TestHysteresis: a service that is up stays so down to the quorum less the
// hysteresis, and one that is down comes up at the quorum and the hysteresis, or
// with all of its servers.
func TestHysteresis(t *testing.T) {
	up, down := Server{Health: Up}, Server{Health: Down}
	dynamic := func(n int32) Server { return Server{Health: Up, Weight: healthcheck.Weight{Said: true, Value: n}} }
	for name, test := range map[string]struct {
		quorum, hysteresis int
		steps              [][]Server
		want               string
	}{
		"none":               {4, 0, [][]Server{{up, up, up}, {up, down, up}, {up, up, down}, {up, down, up}}, "up up down up"},
		"up and down":        {4, 1, [][]Server{{down, down, up}, {up, down, up}, {down, up, up}, {up, down, up}, {down, down, up}, {down, up, down}, {up, down, up}}, "down down up up up down down"},
		"none left":          {1, 0, [][]Server{{up, up, up}, {down, down, down}}, "up down"},
		"all are enough":     {5, 4, [][]Server{{up, down, up}, {up, up, up}, {up, down, down}, {down, down, down}}, "down up up down"},
		"weights of checks":  {10, 4, [][]Server{{dynamic(5), dynamic(5), down}, {dynamic(7), dynamic(7), down}, {dynamic(3), dynamic(3), down}, {dynamic(3), dynamic(2), down}}, "up up up down"},
		"never checked ones": {4, 1, [][]Server{{up, up, up}, {{}, {}, up}, {{}, up, down}, {down, down, up}}, "up up pending up"},
	} {
		v, m := testService(quorum(test.quorum), func(v *VirtualService) { v.Hysteresis = test.hysteresis }), &Memory{}
		var got []string
		for _, servers := range test.steps {
			for i, s := range servers {
				*m.Server(addr(i + 1)) = s
			}
			switch d := Decide(t0, v, m, nil); {
			case d.Pending:
				got = append(got, "pending")
			case d.Up:
				got = append(got, "up")
			default:
				got = append(got, "down")
			}
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestWeightsOfChecks: of several checks the least weight counts, an operator's
// word before it, and a dead server's is 0.
func TestWeightsOfChecks(t *testing.T) {
	say := func(n int32) healthcheck.Weight { return healthcheck.Weight{Said: true, Value: n} }
	for name, test := range map[string]struct {
		list checks
		want healthcheck.Weight
	}{
		"nothing is said":       {checks{{Health: Up}, {Health: Up}}, healthcheck.Weight{}},
		"one says it":           {checks{{Health: Up}, {Health: Up, Weight: say(0)}}, say(0)},
		"the least":             {checks{{Health: Up, Weight: say(9)}, {Health: Up, Weight: say(3)}, {Health: Up}}, say(3)},
		"one is down":           {checks{{Health: Up, Weight: say(9)}, {Health: Down}}, healthcheck.Weight{}},
		"one cannot be checked": {checks{{Health: Up, Weight: say(9)}, {Reason: "no file"}}, healthcheck.Weight{}},
	} {
		if got := test.list.combine().Weight; got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
	m := memory(Server{Health: Up, Weight: say(9)}, Server{Health: Up, Weight: say(9), Override: &Override{Kind: SetWeight, Weight: 4}}, Server{Health: Down, Weight: say(9)})
	if diff := cmp.Diff("1:9 2:4 3:0", text(Decide(t0, testService(), m, nil))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m = memory(Server{Health: Up, Weight: say(0)}, Server{Health: Up}, Server{Health: Up})
	if diff := cmp.Diff("1:0 2:2 3:3", text(Decide(t0, testService(removing), m, nil))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func quorum(n int) func(*VirtualService) { return func(v *VirtualService) { v.Quorum = n } }
func slow(v *VirtualService)             { v.SlowStart = 30 * time.Second }
func drain(v *VirtualService)            { v.Drain = time.Minute }

// kernel has the destinations of a service, by number, weight and active
// connections.
func kernel(list ...[3]int) (out []ipvs.DestinationInfo) {
	for _, x := range list {
		out = append(out, ipvs.DestinationInfo{Destination: ipvs.Destination{Addr: addr(x[0]), Weight: int32(x[1])}, Active: uint32(x[2])})
	}
	return out
}

// TestLeaving: a server that is to be removed gets no new connections, keeps
// the ones it has, and goes when they are over or its time is.
func TestLeaving(t *testing.T) {
	all := func() *Memory { return memory(Server{Health: Up}, Server{Health: Up}, Server{Health: Up}) }
	type step struct {
		after time.Duration
		have  []ipvs.DestinationInfo
		want  string
	}
	tests := []struct {
		name  string
		v     *VirtualService
		m     *Memory
		steps []step
	}{
		{"no drain: at once", testService(), all(), []step{
			{0, kernel([3]int{9, 1, 5}), "1:1 2:2 3:3"},
			{0, kernel([3]int{9, 0, 0}), "1:1 2:2 3:3"}}},
		{"drain: when idle", testService(drain), all(), []step{
			{0, kernel([3]int{9, 1, 5}), "1:1 2:2 3:3 9:0"},
			{59 * time.Second, kernel([3]int{9, 0, 1}), "1:1 2:2 3:3 9:0"},
			{59 * time.Second, kernel([3]int{9, 0, 0}), "1:1 2:2 3:3 drained"}}},
		{"drain: at the deadline", testService(drain), all(), []step{
			{0, kernel([3]int{9, 1, 5}), "1:1 2:2 3:3 9:0"},
			{time.Minute, kernel([3]int{9, 0, 5}), "1:1 2:2 3:3"}}},
		{"idle when first seen: quiesced before it is removed", testService(drain), all(), []step{
			{0, kernel([3]int{9, 1, 0}), "1:1 2:2 3:3 9:0"},
			{time.Second, kernel([3]int{9, 0, 0}), "1:1 2:2 3:3 drained"}}},
		{"a failed server is drained before it is removed", testService(drain, removing), memory(Server{Health: Down}, Server{Health: Up}, Server{Health: Up}), []step{
			{0, kernel([3]int{1, 1, 5}, [3]int{2, 2, 0}, [3]int{3, 3, 0}), "2:2 3:3 1:0"}}},
		{"back while it was leaving: its time starts anew", testService(drain), memory(Server{Health: Up}), []step{
			{0, kernel([3]int{1, 1, 5}), "1:1"}}},
		{"an operator's drain has no end but idleness", testService(), memory(Server{Health: Up, Override: &Override{Kind: Drain}}, Server{Health: Up}, Server{Health: Up}), []step{
			{0, kernel([3]int{1, 1, 5}), "2:2 3:3 1:0"},
			{99 * time.Hour, kernel([3]int{1, 0, 5}), "2:2 3:3 1:0"},
			{99 * time.Hour, kernel([3]int{1, 0, 0}), "2:2 3:3 drained"}}},
		{"it is the last of the servers", testService(), memory(Server{Health: Up}, Server{Health: Up}, Server{Health: Up, Override: &Override{Kind: Drain}}), []step{
			{0, kernel([3]int{3, 3, 5}), "1:1 2:2 3:0"},
			{99 * time.Hour, kernel([3]int{3, 0, 5}), "1:1 2:2 3:0"}}},
		{"an operator's drain with a deadline", testService(), memory(
			Server{Health: Up, Override: &Override{Kind: Drain, Since: t0, Deadline: t0.Add(time.Minute)}}, Server{Health: Up}, Server{Health: Up}), []step{
			{0, kernel([3]int{1, 1, 5}), "2:2 3:3 1:0"},
			{time.Minute, kernel([3]int{1, 0, 5}), "2:2 3:3"}}},
		{"an operator's drain of the run before, a clock set back since", testService(), memory(
			Server{Health: Up, Override: &Override{Kind: Drain, Since: t0.Add(8760 * time.Hour), Deadline: t0.Add(8760*time.Hour + time.Minute)}}, Server{Health: Up}, Server{Health: Up}), []step{
			{0, kernel([3]int{1, 0, 5}), "2:2 3:3 1:0"},
			{59 * time.Second, kernel([3]int{1, 0, 5}), "2:2 3:3 1:0"},
			{time.Minute, kernel([3]int{1, 0, 5}), "2:2 3:3"}}},
		{"a deadline that is said later counts from then", testService(), memory(
			Server{Health: Up, Override: &Override{Kind: Drain, Since: t0.Add(time.Hour), Deadline: t0.Add(time.Hour + time.Minute)}}, Server{Health: Up}, Server{Health: Up}), []step{
			{0, kernel([3]int{1, 1, 5}), "2:2 3:3 1:0"},
			{time.Hour + 59*time.Second, kernel([3]int{1, 0, 5}), "2:2 3:3 1:0"},
			{time.Hour + time.Minute, kernel([3]int{1, 0, 5}), "2:2 3:3"}}},
		{"a deadline is not put off by a restart", testService(), memory(
			Server{Health: Up, Override: &Override{Kind: Drain, Since: t0, Deadline: t0.Add(time.Minute)}}, Server{Health: Up}, Server{Health: Up}), []step{
			{59 * time.Second, kernel([3]int{1, 0, 5}), "2:2 3:3 1:0"},
			{time.Minute, kernel([3]int{1, 0, 5}), "2:2 3:3"}}},
		{"gone by another's hand, and back later: its time starts anew", testService(drain), all(), []step{
			{0, kernel([3]int{9, 1, 5}), "1:1 2:2 3:3 9:0"},
			{time.Second, kernel(), "1:1 2:2 3:3"},
			{2 * time.Minute, kernel([3]int{9, 1, 5}), "1:1 2:2 3:3 9:0"}}},
		{"the second fallback's readers likewise, another server's not", testService(func(v *VirtualService) {
			v.Fallback = []ipvs.Destination{{Addr: addr(8)}, {Addr: addr(9)}}
		}), all(), []step{
			{0, kernel([3]int{9, 1, 5}, [3]int{7, 1, 5}), "1:1 2:2 3:3 9:0"}}},
		{"the fallback's readers in a service with a drain", testService(drain, func(v *VirtualService) {
			v.Drain = 10 * time.Second
			v.Fallback = []ipvs.Destination{{Addr: addr(9)}}
		}), all(), []step{
			{0, kernel([3]int{9, 1, 5}), "1:1 2:2 3:3 9:0"},
			{10 * time.Second, kernel([3]int{9, 0, 5}), "1:1 2:2 3:3"}}},
		{"the fallback's readers get all of their page", testService(func(v *VirtualService) {
			v.Fallback = []ipvs.Destination{{Addr: addr(9)}}
		}), all(), []step{
			{0, kernel([3]int{9, 1, 5}), "1:1 2:2 3:3 9:0"},
			{time.Second, kernel([3]int{9, 0, 0}), "1:1 2:2 3:3 drained"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, s := range tt.steps {
				d := Decide(t0.Add(s.after), tt.v, tt.m, s.have)
				got := strings.TrimSuffix(text(d), " pending")
				if len(d.Drained) > 0 {
					got += " drained"
				}
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Errorf("after %v (-want +got):\n%s", s.after, diff)
				}
			}
		})
	}
}

// TestLeavesAnew: a server that came back has all of its time when it leaves again,
// also when it is at weight 0 in between.
func TestLeavesAnew(t *testing.T) {
	for _, between := range []Health{Up, Down} {
		v, drained := testService(drain), &Override{Kind: Drain, Since: t0, Deadline: t0.Add(time.Hour)}
		m := memory(Server{Health: Up, Override: drained}, Server{Health: Up}, Server{Health: Up})
		have := kernel([3]int{1, 0, 5})
		Decide(t0, v, m, have)
		if len(m.Leaving) != 1 {
			t.Fatalf("leaving: %v", m.Leaving)
		}
		s := m.Server(addr(1))
		s.Health, s.Override = between, nil
		if Decide(t0.Add(time.Minute), v, m, have); len(m.Leaving) != 0 {
			t.Errorf("%v again, and still leaving: %v", between, m.Leaving)
		}
		v.Quiescent, s.Health = false, Down
		Decide(t0.Add(2*time.Minute), v, m, have)
		if got := text(Decide(t0.Add(2*time.Minute+59*time.Second), v, m, have)); got != "2:2 3:3 1:0" {
			t.Errorf("%v in between: %s, want it to leave for a minute", between, got)
		}
	}
}

// TestLeaveIsTold: until when a server may stay is said, and kept in the state file:
// by a drain, by an operator's deadline, or for as long as it takes.
func TestLeaveIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		word Override
		want time.Time
	}{
		"the file's drain":         {Override{Kind: Maintain}, t0.Add(time.Minute)},
		"an operator's deadline":   {Override{Kind: Drain, Deadline: t0.Add(time.Hour)}, t0.Add(time.Hour)},
		"an operator's without it": {Override{Kind: Drain}, time.Time{}},
	} {
		m := memory(Server{Health: Up, Override: &test.word}, Server{Health: Up}, Server{Health: Up})
		Decide(t0, testService(drain, removing), m, kernel([3]int{1, 1, 5}))
		if got := m.Leaving[addr(1)]; got != (Leave{t0, test.want}) {
			t.Errorf("%s: %v, want until %v", name, got, test.want)
		}
	}
}

// TestIdle: inactive connections of TCP are over; UDP has no others, and under a
// firewall mark there may be both.
func TestIdle(t *testing.T) {
	for _, test := range []struct {
		p                ipvs.Protocol
		active, inactive uint32
		want             bool
	}{
		{ipvs.TCP, 0, 1, true}, {ipvs.TCP, 1, 0, false},
		{ipvs.UDP, 0, 1, false}, {ipvs.UDP, 0, 0, true},
		{0, 0, 1, false}, {0, 1, 0, false}, {0, 0, 0, true},
	} {
		if got := idle(test.p, &ipvs.DestinationInfo{Active: test.active, Inactive: test.inactive}); got != test.want {
			t.Errorf("%+v: idle is %v", test, got)
		}
	}
}
