package realserver_test

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/realserver"
	"github.com/goipvs/goipvs/sysctl/vip"
)

var (
	rounds    = flag.Int("rounds", 5, "random sequences of TestKernelRandom")
	firstSeed = flag.Uint64("seed", 1, "the first one's seed")
)

// outside are the values that others set knobs to in TestKernelRandom: not those
// that we set, which nobody could tell from ours.
var outside = map[string][]string{"arp_ignore": {"0", "2", "3"}, "arp_announce": {"0", "1"}}

// player makes random moves on a host and keeps book of what others set.
type player struct {
	*farm
	t      *testing.T
	s      *topo.Host
	r      *rand.Rand
	vips   map[netip.Addr]realserver.Spec
	added  map[netip.Addr]bool
	knobs  []sysctl.Knob
	others map[sysctl.Knob]string // the last value that was not ours
}

// TestKernelRandom: whatever order of adds, deletes, crashes and changes by
// others, afterwards every knob has the last value that others gave it, and no
// address is left. As long as VIPs are there they are served in silence.
func TestKernelRandom(t *testing.T) {
	f := newFarm(t, topo.Spec{IPv6: true})
	s := f.Servers[0]
	f.add(t, s, realserver.Spec{Mode: realserver.TUN}, f.VIP4) // loads the module
	f.del(t, s, f.VIP4)
	for seed := *firstSeed; seed < *firstSeed+uint64(*rounds); seed++ {
		p := &player{farm: f, t: t, s: s, r: rand.New(rand.NewPCG(seed, 0)), added: map[netip.Addr]bool{}, others: map[sysctl.Knob]string{},
			vips: map[netip.Addr]realserver.Spec{
				f.VIP4: {}, netip.MustParseAddr("192.0.2.11"): {Mode: realserver.TUN},
				netip.MustParseAddr("192.0.2.12"): {Mode: realserver.TUN, Dev: "lo"}, f.VIP6: {},
			}}
		p.play()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (p *player) play() {
	for _, dev := range []string{"all", "lo", "eth0", "tunl0"} {
		for _, name := range []string{"arp_ignore", "arp_announce"} {
			p.knobs = append(p.knobs, sysctl.Conf4(dev, name))
		}
	}
	for _, k := range p.knobs {
		p.meddle(k)
	}
	// The filter of "all" is turned off for one of the VIPs: then its value is
	// that of other interfaces, and they go back together.
	strict := sysctl.Conf4("all", "rp_filter")
	p.set(strict, []string{"0", "1", "2"}[p.r.IntN(3)])
	p.knobs = append(p.knobs, strict)
	before := hostState(p.t, p.s)
	for range 25 {
		p.move()
	}
	for a := range p.vips {
		p.crash(func(h realserver.Host) error { _, err := h.Delete(a); return err })
	}
	for a := range p.vips {
		p.del(p.t, p.s, a)
	}
	for k, v := range p.others {
		if _, dev, name, _ := k.Conf(); true {
			before[dev+" "+name] = v
		}
	}
	wantState(p.t, p.s, before)
}

func (p *player) move() {
	a := p.pick()
	switch p.r.IntN(6) {
	case 0, 1:
		p.add(p.t, p.s, p.vips[a], a)
		p.added[a] = true
		p.wantServed()
	case 2:
		p.del(p.t, p.s, a)
		delete(p.added, a)
	case 3:
		p.crash(func(h realserver.Host) error { _, err := h.Add(p.vips[a], a); return err })
		delete(p.added, a) // who knows
	case 4:
		p.crash(func(h realserver.Host) error { _, err := h.Delete(a); return err })
		delete(p.added, a)
	case 5:
		p.meddle(p.knobs[p.r.IntN(8)])
	}
}

func (p *player) pick() netip.Addr {
	n := p.r.IntN(len(p.vips))
	for _, a := range []netip.Addr{p.VIP4, netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12"), p.VIP6} {
		if n--; n < 0 {
			return a
		}
	}
	panic("unreachable")
}

// crash ends an operation before a random one of its steps, as kill -9 does.
func (p *player) crash(f func(realserver.Host) error) {
	left := p.r.IntN(8)
	type crash struct{}
	do(p.t, p.s, func() (err error) {
		defer func() {
			if e := recover(); e != nil {
				if _, ours := e.(crash); !ours {
					panic(e)
				}
			}
		}()
		return f(p.host().OnStep(func(realserver.Action) {
			if left--; left < 0 {
				panic(crash{})
			}
		}))
	})
}

// meddle is what another program does: it sets a knob to another value.
func (p *player) meddle(k sysctl.Knob) {
	_, _, name, _ := k.Conf()
	values := outside[name]
	p.set(k, values[p.r.IntN(len(values))])
}

func (p *player) set(k sysctl.Knob, value string) {
	do(p.t, p.s, func() error { return os.WriteFile("/proc/sys/"+string(k), []byte(value), 0) })
	p.others[k] = value
}

func (p *player) wantServed() {
	p.t.Helper()
	var st realserver.Status
	do(p.t, p.s, func() (err error) { st, err = p.host().Show(); return err })
	for _, e := range st.Effective {
		if !e.Good {
			p.t.Errorf("after an add: effective %s", e)
		}
	}
	if len(st.Drift) != 0 {
		p.t.Errorf("after an add: %q", st.Drift)
	}
	for a := range p.added {
		do(p.t, p.s, func() error {
			if places, err := vip.Find(a); err != nil || len(places) != 1 {
				p.t.Errorf("%s is on %v, %v", a, places, err)
			}
			return nil
		})
	}
}
