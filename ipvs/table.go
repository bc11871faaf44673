package ipvs

import "net/netip"

// Table is an IPVS table: services, each with its destinations. The nil Table
// is empty. Order has no meaning to [Plan]; the kernel lists destinations
// newest first, and some schedulers choose by that order.
type Table []Entry

// Entry is one service with its destinations.
type Entry struct {
	Service      Service
	Destinations []Destination
	// Locals are the source addresses towards the destinations of a service of
	// full NAT; none: the kernel chooses by its routes.
	Locals []netip.Addr
}

// Keys returns the table's services as a set.
func (t Table) Keys() map[ServiceKey]bool {
	m := make(map[ServiceKey]bool, len(t))
	for i := range t {
		m[t[i].Service.ServiceKey] = true
	}
	return m
}
