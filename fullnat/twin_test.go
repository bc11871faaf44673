package fullnat_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

var (
	twinTime  = flag.Duration("twin", 30*time.Second, "how long TestKernelTwin compares with the kernel")
	twinSeed  = flag.Uint64("twin-seed", 1, "seed of TestKernelTwin's runs; 0 is a new one")
	twinKind  = flag.String("twin-kind", "", "only runs of TestKernelTwin with this in their name")
	twinFile  = flag.String("twin-record", "", "file, by its full path, to which runs are added as recordings for TestSchedulerReplay")
	twinSteps = flag.Int("twin-steps", 120, "choices of each run")
)

// kind is what a run is about.
type kind struct {
	scheduler  string
	flags      ipvs.Flags
	protocol   ipvs.Protocol
	family     ipvs.Family
	thresholds bool
	persistent int // prefix length of the netmask; 0 is none
	timeout    time.Duration
	switches   string // the scheduler is changed to this one and back
	number     int
}

func (k kind) String() string {
	words := []string{k.scheduler, k.protocol.String(), k.family.String()}
	add := func(is bool, word string) {
		if is {
			words = append(words, word)
		}
	}
	port, fallback := ipvs.Sched2, ipvs.Sched1
	add(k.flags&port != 0, "port")
	add(k.flags&fallback != 0, "fallback")
	add(k.flags&ipvs.OnePacket != 0, "one-packet")
	add(k.thresholds, "thresholds")
	add(k.persistent != 0, fmt.Sprintf("persistent/%d %s", k.persistent, k.timeout))
	add(k.switches != "", "or "+k.switches)
	return strings.Join(words, " ")
}

var schedulers = []string{"rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "fo", "ovf", "mh"}

// kinds are all schedulers with both protocols and families, every other one
// with thresholds, and what some services have besides; in an order in which
// every scheduler comes soon.
func kinds() (list []kind) {
	for pass := range 4 {
		for i, name := range schedulers {
			n := (pass + i) % 4
			list = append(list, kind{
				scheduler: name, protocol: []ipvs.Protocol{ipvs.TCP, ipvs.UDP}[n%2], family: []ipvs.Family{ipvs.IPv4, ipvs.IPv6}[n/2], thresholds: (i+n/2)%2 == 0,
			})
		}
	}
	for i, flags := range []ipvs.Flags{ipvs.Sched1, ipvs.Sched2, ipvs.Sched1 | ipvs.Sched2} {
		f, p := []ipvs.Family{ipvs.IPv4, ipvs.IPv6}[i%2], []ipvs.Protocol{ipvs.TCP, ipvs.UDP}[i/2]
		list = append(list,
			kind{scheduler: "sh", flags: flags, protocol: p, family: f, thresholds: true},
			kind{scheduler: "mh", flags: flags, protocol: p, family: f, thresholds: true})
	}
	tcp := kind{protocol: ipvs.TCP, family: ipvs.IPv4}
	for i, name := range []string{"wlc", "rr", "wrr", "mh"} {
		k := tcp
		k.scheduler, k.persistent, k.timeout, k.thresholds = name, 26, []time.Duration{5 * time.Minute, 6 * time.Second}[i%2], i > 1
		list = append(list, k)
		k.protocol, k.family, k.persistent, k.timeout = ipvs.UDP, ipvs.IPv6, 123, 7*time.Second
		list = append(list, k)
	}
	for _, name := range []string{"rr", "wrr", "lc", "sed", "fo", "mh"} {
		list = append(list, kind{scheduler: name, flags: ipvs.OnePacket, protocol: ipvs.UDP, family: ipvs.IPv4, thresholds: name == "wrr"})
	}
	for _, names := range [][2]string{{"wrr", "wlc"}, {"rr", "mh"}, {"lblcr", "sh"}} {
		k := tcp
		k.scheduler, k.switches = names[0], names[1]
		list = append(list, k)
	}
	for i := range list {
		list[i].number = i
	}
	return list
}

// score is how many runs, steps and choices there were.
type score struct{ runs, steps, choices, refused, agree, stalled int }

// The kernel and the engine choose alike, with real connections, whatever
// happens in between. Runs take turns, so that what ends by itself has the time
// to.
func TestKernelTwin(t *testing.T) {
	w := newTwins(t, 6)
	seed := *twinSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) >> 20
	}
	t.Logf("again: -twin-seed %d", seed)
	scores := map[string]*score{}
	list := slices.DeleteFunc(kinds(), func(k kind) bool { return !strings.Contains(k.String(), *twinKind) })
	if len(list) == 0 {
		t.Fatalf("no kind has %q in its name", *twinKind)
	}
	began := time.Now()
	var matches []*match
	for _, k := range list {
		if len(matches) >= len(schedulers) && time.Since(began) > *twinTime/3 {
			t.Logf("no time for more than %d of %d kinds of runs", len(matches), len(list))
			break
		}
		matches = append(matches, w.newMatch(k, seed))
	}
	for time.Since(began) < *twinTime && !t.Failed() {
		idle := true
		for i, m := range matches {
			if m.over || m.choices >= *twinSteps {
				m.close(scores)
				matches[i] = w.newMatch(list[i], m.seed+1)
				continue
			}
			for range 8 {
				if time.Now().Before(m.wake) || m.over {
					break
				}
				idle = false
				m.step()
			}
		}
		if idle {
			time.Sleep(20 * time.Millisecond)
		}
	}
	for _, m := range matches {
		m.close(scores)
	}
	report(t, scores)
}

// close ends a run and counts it.
func (m *match) close(scores map[string]*score) {
	s := scores[m.scheduler]
	if s == nil {
		s = &score{}
		scores[m.scheduler] = s
	}
	s.runs++
	s.steps += m.steps
	s.choices += m.choices
	s.refused += m.refused
	s.agree += m.agree
	if m.stalled {
		s.stalled++
	}
	if *twinFile != "" && !m.stalled {
		m.must(m.save(*twinFile))
	}
	m.end()
}

func report(t *testing.T, scores map[string]*score) {
	var sum score
	for _, name := range schedulers {
		if s := scores[name]; s != nil {
			t.Logf("%-6s %4d runs %6d steps: %6d of %6d choices agree, %5d of them refusals; %d runs on a machine that was too slow", name, s.runs, s.steps, s.agree, s.choices, s.refused, s.stalled)
			sum = score{sum.runs + s.runs, sum.steps + s.steps, sum.choices + s.choices, sum.refused + s.refused, sum.agree + s.agree, sum.stalled + s.stalled}
		}
	}
	t.Logf("%-6s %4d runs %6d steps: %6d of %6d choices agree, %5d of them refusals; %d runs on a machine that was too slow", "all", sum.runs, sum.steps, sum.agree, sum.choices, sum.refused, sum.stalled)
}
