package daemon

import (
	"slices"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/sourcenat"
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
	if d.manualKernel.Load() || slices.ContainsFunc(c.Virtuals, func(v config.Virtual) bool {
		return v.Forward == ipvs.FullNAT && v.FullNAT.Plane != config.PlaneUserspace
	}) {
		m.NoSourceNAT = d.o.SourceNAT.Check()
	}
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
	if m.NoIPVS == nil && mayRunInKernel(t) {
		d.manualKernel.Store(true)
		m.NoSourceNAT = d.o.SourceNAT.Check()
	}
	return m
}
