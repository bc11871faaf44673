package director

import (
	"errors"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

// proxy says how a service of full NAT is served: through the engine in user
// space. With Build's userspace, on a machine without IPVS, services of NAT are
// served by it, too.
func (b *builder) proxy(c *config.Virtual, v *VirtualService) error {
	switch {
	case c.Forward == ipvs.FullNAT && c.FullNAT.Plane == config.PlaneKernel:
		return errors.New(`fullnat: plane = "kernel" is not there yet, "userspace" and "auto" are`)
	case c.Forward == ipvs.FullNAT:
		f := &c.FullNAT
		o := fullnat.Options{Locals: f.Local, ConnectTimeout: f.ConnectTimeout, Retries: f.Retries}
		if f.Retries == 0 {
			o.Retries = -1 // the engine's zero value means its default
		}
		if err := o.ProxyProtocol.UnmarshalText([]byte(f.ProxyProtocol)); err != nil {
			return err
		}
		v.Proxy = &o
	case b.userspace && c.Forward == ipvs.NAT:
		v.Proxy = &fullnat.Options{}
	case b.userspace:
		return errors.New("this machine has no IPVS, and only NAT and full NAT can be done without")
	}
	return nil
}
