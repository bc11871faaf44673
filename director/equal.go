package director

import (
	"reflect"
	"slices"

	"github.com/goipvs/goipvs/config"
)

// equal reports whether two definitions of a service are the same.
func (v *VirtualService) equal(o *VirtualService) bool {
	a, b := *v, *o
	if !slices.EqualFunc(a.Servers, b.Servers, RealServer.equal) || !slices.Equal(a.Fallback, b.Fallback) || !slices.Equal(a.FallbackCommand, b.FallbackCommand) {
		return false
	}
	if !reflect.DeepEqual(a.Proxy, b.Proxy) || a.Plane != b.Plane || a.Notrack != b.Notrack || !slices.Equal(a.Locals, b.Locals) {
		return false
	}
	return a.Name == b.Name && a.Service == b.Service && a.Quorum == b.Quorum && a.Hysteresis == b.Hysteresis && sameNotify(a.Notify, b.Notify) && a.Quiescent == b.Quiescent &&
		a.Drain == b.Drain && a.SlowStart == b.SlowStart && a.UncheckedUp == b.UncheckedUp && a.VIPInterface == b.VIPInterface
}

func (r RealServer) equal(o RealServer) bool {
	return r.Name == o.Name && r.Destination == o.Destination && sameNotify(r.Notify, o.Notify) && r.Weighs == o.Weighs
}

func sameNotify(a, b config.Notify) bool {
	return slices.Equal(a.Up, b.Up) && slices.Equal(a.Down, b.Down)
}
