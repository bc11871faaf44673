package director

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/ipvstest"
)

var (
	reloadSeed  = flag.Uint64("reload-seed", 1, "of TestReloadsAreAStart and TestKernelReloadsAreAStart")
	reloadFiles = flag.Int("reload-files", 8, "first files of TestReloadsAreAStart and TestKernelReloadsAreAStart, each edited a few times")
)

// TestReloadsAreAStart: after whatever reloads, verdicts and words of operators the
// kernel holds what a fresh start with the last file makes of them.
func TestReloadsAreAStart(t *testing.T) {
	for n := range *reloadFiles {
		seed := *reloadSeed + uint64(n)
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			for step := range 12 {
				w.step()
				if diff := cmp.Diff(w.fresh(), w.old.k.String()); diff != "" {
					t.Fatalf("seed %d, step %d: (-a start +reloads)\n%s\nwhat was done:\n%s\nthe file:\n%s", seed, step, diff, strings.Join(w.done, "\n"), w.file)
				}
			}
		})
	}
}

// world is a file that is edited, what its servers are like, and the Director that
// has lived through all of it.
type world struct {
	*testing.T
	*rand.Rand
	services []*draft
	health   map[ServerID]Health
	file     string
	setup    *Setup
	old      *fixture
	done     []string
	realTime bool // nothing that takes its time
}

// draft is a service of the file before it is written.
type draft struct {
	head    []string // what it is known by
	keys    map[string]string
	servers map[string]string // what more than its address a server has
	family  int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{T: t, health: make(map[ServerID]Health)}
	w.seed(seed)
	w.write()
	w.old = start(t, ipvstest.New(ipvstest.Options{}), w.setup, Persistent{})
	w.judge(w.old)
	return w
}

// seed makes the first services.
func (w *world) seed(seed uint64) {
	w.Rand = rand.New(rand.NewPCG(seed, 0))
	for range 1 + w.IntN(4) {
		w.edit()
	}
}

// one picks a word.
func (w *world) one(words string) string {
	all := strings.Fields(words)
	return all[w.IntN(len(all))]
}

func (w *world) address(family int) string {
	if family == 6 {
		return fmt.Sprintf("2001:db8::%d", 1+w.IntN(6))
	}
	return fmt.Sprintf("10.0.0.%d", 1+w.IntN(6))
}

// edit changes one thing of the file.
func (w *world) edit() {
	if len(w.services) == 0 || w.IntN(6) == 0 && len(w.services) < 6 {
		w.add()
		return
	}
	i := w.IntN(len(w.services))
	s := w.services[i]
	switch w.IntN(9) {
	case 0:
		w.services = slices.Delete(w.services, i, i+1)
	case 1: // another order
		w.Shuffle(len(w.services), func(i, j int) { w.services[i], w.services[j] = w.services[j], w.services[i] })
	case 2, 3:
		s.servers[w.address(s.family)] = w.server()
	case 4:
		for a := range maps.Keys(s.servers) {
			delete(s.servers, a)
			break
		}
	case 5:
		for a := range s.servers {
			s.servers[a] = w.server()
			break
		}
	default:
		w.key(s)
	}
}

func (w *world) add() {
	s := &draft{keys: make(map[string]string), servers: make(map[string]string), family: 4}
	switch n := w.IntN(6); n {
	case 0:
		s.head = []string{fmt.Sprintf("fwmark = %d", 1+w.IntN(3))}
	case 1:
		s.family = 6
		s.head = []string{fmt.Sprintf("address = \"[2001:db8::f%d]:80\"", w.IntN(3))}
	default:
		s.head = []string{fmt.Sprintf("address = \"192.0.2.%d:80\"", 1+w.IntN(3)), fmt.Sprintf("protocol = %q", w.one("tcp tcp udp sctp"))}
	}
	if slices.ContainsFunc(w.services, func(o *draft) bool { return slices.Equal(o.head, s.head) }) {
		return
	}
	for range w.IntN(4) {
		w.key(s)
	}
	for range w.IntN(5) {
		s.servers[w.address(s.family)] = w.server()
	}
	w.services = append(w.services, s)
}

// key gives a service a key another value, or takes it away.
func (w *world) key(s *draft) {
	values := map[string][]string{
		"scheduler":         {`"rr"`, `"wrr"`, `"wlc"`, `"sh"`, `"mh"`, `"fo"`},
		"persistent":        {`"60s"`, `"300s"`},
		"quorum":            {"2", "5"},
		"quiescent":         {"true", "false"},
		"drain":             {`"5s"`, `"60s"`},
		"slow_start":        {`"20s"`},
		"unchecked":         {`"up"`, `"down"`},
		"forward":           {`"dr"`, `"nat"`, `"tun"`},
		"fallback":          {`["10.0.0.250:80"]`, `["10.0.0.1:80"]`},
		"scheduler_flags":   {`["flag-1"]`, `["flag-1", "flag-2"]`},
		"persistent_prefix": {"24"},
	}
	if s.family == 6 {
		values["fallback"], values["persistent_prefix"] = []string{`["[2001:db8::fa]:80"]`, `["[2001:db8::1]:80"]`}, []string{"64"}
	}
	if w.realTime {
		delete(values, "slow_start")
	}
	names := slices.Sorted(maps.Keys(values))
	name := names[w.IntN(len(names))]
	if w.IntN(3) == 0 {
		delete(s.keys, name)
		return
	}
	s.keys[name] = values[name][w.IntN(len(values[name]))]
}

// server is what a real server has besides its address.
func (w *world) server() string {
	text := fmt.Sprintf("weight = %d\n", w.IntN(4))
	if w.IntN(4) == 0 {
		text += fmt.Sprintf("upper = %d\nlower = %d\n", 10+w.IntN(2), w.IntN(3))
	}
	return text
}

// write makes the file of the drafts; what does not load is not one.
func (w *world) write() {
	for {
		var b strings.Builder
		fmt.Fprintf(&b, "hold_on_mass_failure = 1.0\ndrain = %q\n", w.one("0s 10s"))
		for _, s := range w.services {
			fmt.Fprintf(&b, "[[virtual]]\n%s\n", strings.Join(s.head, "\n"))
			for _, k := range slices.Sorted(maps.Keys(s.keys)) {
				fmt.Fprintf(&b, "%s = %s\n", k, s.keys[k])
			}
			b.WriteString("[virtual.check]\ntype = \"ping\"\n")
			for _, a := range slices.Sorted(maps.Keys(s.servers)) {
				fmt.Fprintf(&b, "[[virtual.real]]\naddress = %q\n%s", a, s.servers[a])
			}
		}
		c, err := config.Parse("goipvs.toml", []byte(b.String()), config.Options{})
		if err == nil {
			bound, _ := c.Bind(func(config.Host) (netip.Addr, bool) { return netip.Addr{}, false })
			w.setup, err = Build(bound, false)
		}
		if err == nil {
			w.file = b.String()
			return
		}
		w.edit()
	}
}

// step edits, reloads, and has something happen to servers.
func (w *world) step() {
	w.editAll()
	w.say("reload")
	if _, err := w.old.d.Reload(w.setup, true); err != nil {
		w.Fatalf("%v\n%s", err, w.file)
	}
	w.judge(w.old)
	if ids := w.ids(); len(ids) > 0 && w.IntN(2) == 0 {
		id := ids[w.IntN(len(ids))]
		word := []*Override{nil, {Kind: Drain}, {Kind: Maintain}, {Kind: SetWeight, Weight: int32(w.IntN(5))}}[w.IntN(4)]
		w.say(fmt.Sprint("override ", id, word))
		if _, _, err := w.old.d.Override(Selector{id.Addr.String(), id.Service.String()}, word); err != nil {
			w.Fatal(err)
		}
	}
	switch w.IntN(4) {
	case 0:
		w.say("restart")
		if err := w.old.stop(); err != nil {
			w.Fatal(err)
		}
		w.old = start(w.T, w.old.k, w.setup, w.old.saved)
		w.judge(w.old)
	case 1:
		w.meddle()
	}
	time.Sleep(settled)
	synctest.Wait()
}

// editAll makes another file, and other servers of it well.
func (w *world) editAll() {
	for range 1 + w.IntN(3) {
		w.edit()
	}
	w.write()
	for _, id := range w.ids() {
		if w.IntN(3) == 0 {
			w.health[id] = []Health{Up, Down}[w.IntN(2)]
		}
	}
}

// settled is longer than any drain or slow start of the file.
const settled = 90 * time.Second

// meddle has somebody else at the kernel's table.
func (w *world) meddle() {
	hand := w.old.k.Other()
	have, err := ipvs.Read(hand)
	if err != nil || len(have.Table) == 0 {
		return
	}
	next := slices.Clone(have.Table)
	i := w.IntN(len(next))
	e := &next[i]
	e.Destinations = slices.Clone(e.Destinations)
	switch n := w.IntN(5); {
	case n == 0:
		next = nil
	case n == 1:
		next = slices.Delete(next, i, i+1)
	case n == 2:
		e.Service.Scheduler = w.one("lc sed nq")
	case n == 3 && len(e.Destinations) > 0:
		d := w.IntN(len(e.Destinations))
		if e.Destinations[d].Weight += 7; w.IntN(2) == 0 {
			e.Destinations = slices.Delete(e.Destinations, d, d+1)
		}
	default:
		a := netip.MustParseAddrPort("10.0.0.99:80")
		if e.Service.AF() == ipvs.IPv6 {
			a = netip.MustParseAddrPort("[2001:db8::99]:80")
		}
		e.Destinations = append(e.Destinations, ipvs.Destination{Addr: a, Weight: 1})
	}
	w.say("somebody else: " + fmt.Sprint(ipvs.Plan(have.Table, next)))
	if _, err := ipvs.Reconcile(hand, next, ipvs.ReconcileOptions{}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) say(text string) { w.done = append(w.done, text) }

// ids are all servers of the file, in order.
func (w *world) ids() (ids []ServerID) {
	for i := range w.setup.Services {
		v := &w.setup.Services[i]
		for j := range v.Servers {
			ids = append(ids, ServerID{v.Key(), v.Servers[j].Addr})
		}
	}
	return ids
}

// judge tells a Director what checks say of all servers.
func (w *world) judge(f *fixture) {
	f.d.Observe(w.verdicts())
	synctest.Wait()
}

// verdicts are those of all servers.
func (w *world) verdicts() (list []Result) {
	for _, id := range w.ids() {
		if w.health[id] == Unchecked {
			w.health[id] = Up
		}
		list = append(list, Result{Server: id, Health: w.health[id]})
	}
	return list
}

// fresh is what a start makes of the file, of the verdicts and of operators' words.
func (w *world) fresh() string {
	f := start(w.T, ipvstest.New(ipvstest.Options{}), w.setup, Persistent{Overrides: w.old.saved.Overrides})
	w.judge(f)
	time.Sleep(settled)
	synctest.Wait()
	text := f.k.String()
	if err := f.stop(); err != nil {
		w.Fatal(err)
	}
	return text
}
