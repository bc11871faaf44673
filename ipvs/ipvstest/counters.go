package ipvstest

import (
	"fmt"
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
)

// Count sets the counters of a service, as if there had been traffic. It
// panics when there is no such service.
func (k *Kernel) Count(key ipvs.ServiceKey, stats ipvs.Stats) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.must(key).Stats = stats
}

// Load is the traffic of a destination: its connections now and its counters.
type Load struct {
	Active, Inactive, Persistent uint32
	Stats                        ipvs.Stats
}

// CountDestination sets connections and counters of a destination. It panics
// when there is no such destination.
func (k *Kernel) CountDestination(key ipvs.ServiceKey, addr netip.AddrPort, l Load) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	svc := k.state.must(key)
	i := svc.lookup(addr)
	if i < 0 {
		panic(fmt.Sprintf("ipvstest: %s of %s: %v", addr, key, ipvs.ErrNoDestination))
	}
	d := svc.destinations[i]
	d.Active, d.Inactive, d.Persistent, d.Stats = l.Active, l.Inactive, l.Persistent, l.Stats
}

func (s *state) must(key ipvs.ServiceKey) *service {
	svc, errno := s.find(key)
	if errno != 0 {
		panic(fmt.Sprintf("ipvstest: %s: %v", key, ipvs.ErrNoService))
	}
	return svc
}
