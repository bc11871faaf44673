package schedulers

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

var kinds = []kind{
	{name: "rr", scheduler: "rr"},
	{name: "rr thresholds", scheduler: "rr", thresholds: true, expires: 1},
	{name: "wrr", scheduler: "wrr"},
	{name: "wrr thresholds", scheduler: "wrr", thresholds: true, expires: 1},
	{name: "wrr switched", scheduler: "wrr", switches: "wlc"},
	{name: "lc", scheduler: "lc"},
	{name: "lc udp", scheduler: "lc", protocol: "udp"},
	{name: "wlc", scheduler: "wlc"},
	{name: "wlc udp thresholds", scheduler: "wlc", protocol: "udp", thresholds: true, expires: 1},
	{name: "wlc thresholds ipv6", scheduler: "wlc", family: ipvs.IPv6, thresholds: true, expires: 1},
	{name: "wlc persistent", scheduler: "wlc", persistent: 28},
	{name: "wlc persistent quiescent", scheduler: "wlc", persistent: 30, expireQuiescent: true, thresholds: true, expires: 1},
	{name: "sed", scheduler: "sed"},
	{name: "sed udp", scheduler: "sed", protocol: "udp"},
	{name: "nq", scheduler: "nq", thresholds: true},
	{name: "nq udp", scheduler: "nq", protocol: "udp"},
	{name: "fo", scheduler: "fo", thresholds: true},
	{name: "ovf", scheduler: "ovf", thresholds: true, expires: 1},
	{name: "ovf udp", scheduler: "ovf", protocol: "udp"},
	{name: "sh", scheduler: "sh", switches: "mh"},
	{name: "sh-port", scheduler: "sh", flags: ipvs.Sched2},
	{name: "sh-fallback", scheduler: "sh", flags: ipvs.Sched1, thresholds: true, expires: 1},
	{name: "sh-port sh-fallback ipv6", scheduler: "sh", flags: ipvs.Sched1 | ipvs.Sched2, family: ipvs.IPv6},
	{name: "mh", scheduler: "mh"},
	{name: "mh-port", scheduler: "mh", flags: ipvs.Sched2, protocol: "udp"},
	{name: "mh-fallback", scheduler: "mh", flags: ipvs.Sched1, thresholds: true},
	{name: "mh-port mh-fallback ipv6", scheduler: "mh", flags: ipvs.Sched1 | ipvs.Sched2, family: ipvs.IPv6},
	{name: "dh", scheduler: "dh", marked: true, thresholds: true},
	{name: "dh ipv6", scheduler: "dh", marked: true, family: ipvs.IPv6},
	{name: "lblc", scheduler: "lblc", marked: true},
	{name: "lblc thresholds", scheduler: "lblc", marked: true, thresholds: true, expires: 1},
	{name: "lblc udp", scheduler: "lblc", marked: true, protocol: "udp"},
	{name: "lblcr", scheduler: "lblcr", marked: true},
	{name: "lblcr thresholds ipv6", scheduler: "lblcr", marked: true, family: ipvs.IPv6, thresholds: true},
}

// The kernel chooses as the model does, whatever happens between connections.
func TestKernelSchedulerRandom(t *testing.T) {
	n := newNetwork(t, 6)
	seed := uint64(1)
	if s := os.Getenv("SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	runs, _ := strconv.Atoi(os.Getenv("RUNS"))
	prompt := n.prompt(t)
	for number, k := range kinds {
		k.prompt = prompt
		for i := range uint64(max(1, runs)) {
			t.Run(k.name, func(t *testing.T) {
				t.Logf("SEED=%d", seed+i)
				n.random(t, k.withDefaults(), rand.New(rand.NewPCG(seed+i, uint64(number))))
			})
		}
	}
}

// prompt tells whether the kernel looks at the connections there are when a
// threshold changes: of 6.1, 6.1.192 does and 6.1.176 does not.
func (n *network) prompt(t *testing.T) bool {
	l := n.literal(t, "tcp", ipvs.Service{Scheduler: "rr"}, 1)
	l.next(t, 1)
	d := l.server(0, 1)
	d.Upper = 1
	must(t, n.kernel.Do(ipvs.Change{Op: ipvs.UpdateDestination, Service: l.service, Destination: d}))
	full := l.next(t, 1)[0] == "-"
	t.Logf("the kernel applies thresholds at once: %v", full)
	return full
}

func (n *network) random(t *testing.T, k kind, rnd *rand.Rand) {
	if k.expireQuiescent {
		must(t, n.Director.Sysctl("net.ipv4.vs.expire_quiescent_template", "1"))
		t.Cleanup(func() { must(t, n.Director.Sysctl("net.ipv4.vs.expire_quiescent_template", "0")) })
	}
	r := &run{twin: n.twin(t, k), kind: k, Rand: rnd}
	for range 4 {
		r.add()
	}
	for r.choices < 60 {
		r.step()
	}
	r.settle()
	t.Logf("%d choices, %d steps in %s", r.choices, len(r.log), r.now().Round(time.Millisecond))
}

// run is a random run under way.
type run struct {
	*twin
	kind kind
	*rand.Rand
}

func (r *run) step() {
	switch p := r.IntN(100); {
	case p < 62:
		r.connect(r.client(), r.virtuals[r.IntN(len(r.virtuals))])
	case p < 74:
		r.end()
	case p < 84:
		r.update()
	case p < 88:
		r.add()
	case p < 91:
		r.remove()
	case p < 94:
		r.reuse()
	case p < 95 && r.kind.switches != "":
		s := r.service
		s.Scheduler, r.kind.switches = r.kind.switches, s.Scheduler
		r.edit(s)
	case p < 98 && r.kind.expires > 0:
		r.expireSome()
	default:
		r.settle()
	}
}

// client is one of 32 addresses, with a port of its own.
func (r *run) client() netip.AddrPort {
	base := addr(r.Client, r.kind.family).As16()
	base[15], base[14] = byte(16*r.IntN(8)+1), byte(r.IntN(4))
	a := netip.AddrFrom16(base)
	if r.kind.family == ipvs.IPv4 {
		a = a.Unmap()
	}
	return r.from(a)
}

// end does something to a connection that is open.
func (r *run) end() {
	live := r.live()
	if len(live) == 0 {
		return
	}
	c := live[r.IntN(len(live))]
	switch p := r.IntN(4); {
	case p == 0 || r.kind.protocol == "udp":
		r.again(c)
	case p == 1:
		r.finish(c)
	case p == 2 && r.kind.persistent == 0: // a connection with a template is not scheduled anew
		r.closeFirst(c)
	default:
		r.close(c)
	}
	r.settle()
}

func (r *run) expireSome() {
	live := r.live()
	if len(live) == 0 {
		return
	}
	r.kind.expires--
	r.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
	r.twin.expire(live[:1+r.IntN(len(live))]...)
	r.settle()
}

// properties gives a server a weight and thresholds.
func (r *run) properties(d ipvs.Destination) ipvs.Destination {
	d.Weight = int32([]int{0, 1, 1, 2, 3, 4, 6, 300}[r.IntN(8)])
	if r.kind.thresholds && r.IntN(3) > 0 {
		d.Upper = uint32(r.IntN(9))
		d.Lower = uint32(r.IntN(int(d.Upper) + 1))
	}
	return d
}

// pick is a random server that is in the list, or one that is not.
func (r *run) pick(listed bool) (d ipvs.Destination, ok bool) {
	for _, i := range r.Perm(len(r.Servers)) {
		d = r.server(i)
		if (r.model.Server(d.Addr) != nil) == listed {
			return d, true
		}
	}
	return d, false
}

func (r *run) add() {
	if d, ok := r.pick(false); ok {
		r.change(ipvs.AddDestination, r.properties(d))
	}
}

func (r *run) update() {
	if d, ok := r.pick(true); ok {
		r.change(ipvs.UpdateDestination, r.properties(d))
	}
}

func (r *run) remove() {
	if d, ok := r.pick(true); ok {
		r.change(ipvs.DeleteDestination, d)
	}
}
