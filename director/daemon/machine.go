package daemon

import (
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
	want := make(map[ipvs.Family]bool)
	for i := range c.Virtuals {
		if v := &c.Virtuals[i]; v.Forward == ipvs.FullNAT && v.FullNAT.Plane != config.PlaneUserspace {
			want[v.Service.AF()] = true
		}
	}
	m.NoSourceNAT = d.noSourceNAT(want)
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
		want := make(map[ipvs.Family]bool)
		for _, e := range t {
			want[e.Service.AF()] = true
		}
		m.NoSourceNAT = d.noSourceNAT(want)
	}
	return m
}

// noSourceNAT is why the kernel cannot do full NAT for families that are wanted.
// Services of commands may be of either.
func (d *Daemon) noSourceNAT(want map[ipvs.Family]bool) map[ipvs.Family]error {
	no := make(map[ipvs.Family]error)
	for _, f := range [...]ipvs.Family{ipvs.IPv4, ipvs.IPv6} {
		if want[f] || d.manualKernel.Load() {
			if err := d.o.SourceNAT.Check(f); err != nil {
				no[f] = err
			}
		}
	}
	return no
}
