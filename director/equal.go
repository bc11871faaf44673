package director

import (
	"reflect"
	"slices"
)

// equal reports whether two definitions of a service are the same.
func (v *VirtualService) equal(o *VirtualService) bool {
	a, b := *v, *o
	if !slices.Equal(a.Servers, b.Servers) || !slices.Equal(a.Fallback, b.Fallback) || !slices.Equal(a.FallbackCommand, b.FallbackCommand) {
		return false
	}
	if !reflect.DeepEqual(a.Proxy, b.Proxy) || a.Plane != b.Plane || a.Notrack != b.Notrack || !slices.Equal(a.Locals, b.Locals) {
		return false
	}
	return a.Name == b.Name && a.Service == b.Service && a.Quorum == b.Quorum && a.Quiescent == b.Quiescent &&
		a.Drain == b.Drain && a.SlowStart == b.SlowStart && a.UncheckedUp == b.UncheckedUp && a.VIPInterface == b.VIPInterface
}
