package daemon

import (
	"sync"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/sourcenat"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl/tune"
)

// newKeeper keeps its record of knobs in the daemon's own folder, which survives
// it and is no other user's.
func newKeeper(c *config.Config) *sourcenat.Keeper {
	return &sourcenat.Keeper{Knobs: tune.Host{Dir: c.StateDir}}
}

// machine is what this machine can do for a configuration. It is looked at only
// as far as somebody asks for it.
func (d *Daemon) machine(c *config.Config) (m director.Machine) {
	if d.optional != nil {
		if m.NoIPVS = d.optional.absent(); m.NoIPVS != nil {
			return m
		}
	}
	for i := range c.Virtuals {
		if v := &c.Virtuals[i]; v.Forward == ipvs.FullNAT && v.FullNAT.Plane != config.PlaneUserspace {
			d.asked.add(v.Service.ServiceKey)
		}
	}
	m.NoSourceNAT = d.asked.missing(d.o.SourceNAT)
	return m
}

// machineFor is what this machine can do for services of commands.
func (d *Daemon) machineFor(next map[ipvs.ServiceKey]*ipvs.Entry) (m director.Machine) {
	var t ipvs.Table
	for _, e := range next {
		if e != nil {
			t = append(t, *e)
		}
	}
	if d.optional != nil {
		m.NoIPVS = d.optional.absent()
	}
	if m.NoIPVS == nil {
		d.asked.addTable(t)
		m.NoSourceNAT = d.asked.missing(d.o.SourceNAT)
	}
	return m
}

// asked is what services, of the file and of commands, have needed of source
// NAT. A kernel is asked only for that, as asking loads its modules.
type asked struct {
	mu    sync.Mutex
	needs map[snat.Need]bool
}

func (a *asked) add(k ipvs.ServiceKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.needs == nil {
		a.needs = make(map[snat.Need]bool)
	}
	a.needs[snat.NeedOf(k)] = true
}

// addTable adds services of commands: those that insist on the kernel, and those
// that are complete enough for it.
func (a *asked) addTable(t ipvs.Table) {
	for _, e := range t {
		if p := e.Service.Plane; p == ipvs.PlaneKernel || p != ipvs.PlaneUserspace && len(e.Locals) > 0 {
			a.add(e.Service.ServiceKey)
		}
	}
}

// missing is why the kernel does not have some of it.
func (a *asked) missing(n SourceNAT) map[snat.Need]error {
	a.mu.Lock()
	defer a.mu.Unlock()
	no := make(map[snat.Need]error)
	for need := range a.needs {
		if err := n.Check(need); err != nil {
			no[need] = err
		}
	}
	return no
}
