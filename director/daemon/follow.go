package daemon

import (
	"context"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
)

// followEvery is how often full NAT in user space looks what the kernel's IPVS
// goes by: timeouts (ipvsadm --set) and variables, which anybody may set.
const followEvery = 2 * time.Second

func (d *Daemon) follow(ctx context.Context) { every(ctx, followEvery, d.followKernel) }

// followKernel has full NAT go by what the kernel goes by, where it has IPVS.
func (d *Daemon) followKernel() {
	t, err := d.o.Kernel.Timeouts()
	if err != nil || t == (ipvs.Timeouts{}) {
		return
	}
	d.proxy.SetTimeouts(t)
	d.proxy.SetScheduling(scheduling(sysctl.Netns{}))
}

// scheduling reads the variables of net.ipv4.vs that schedulers look at; those
// that there are not have their defaults.
func scheduling(n sysctl.Netns) fullnat.Scheduling {
	seconds := func(knob string) time.Duration {
		value, _ := n.Get(sysctl.VS(knob))
		s, _ := strconv.Atoi(value)
		return time.Duration(s) * time.Second
	}
	return fullnat.Scheduling{
		ExpireQuiescentTemplate: seconds("expire_quiescent_template") > 0,
		LBLCExpiration:          seconds("lblc_expiration"),
		LBLCRExpiration:         seconds("lblcr_expiration"),
	}
}
