package director

import (
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Memory is what is remembered of one service between decisions. The zero value
// is a service that was never seen.
type Memory struct {
	// Up: the service was up by the last decision that could tell.
	Up      bool
	Servers map[netip.AddrPort]*Server
	// Leaving are destinations on their way out.
	Leaving map[netip.AddrPort]Leave
}

// Server returns what is remembered of a server, making room for it.
func (m *Memory) Server(a netip.AddrPort) *Server {
	if m.Servers == nil {
		m.Servers = make(map[netip.AddrPort]*Server)
	}
	s := m.Servers[a]
	if s == nil {
		s = &Server{}
		m.Servers[a] = s
	}
	return s
}

// A Decision is what is wanted for one service, and why.
type Decision struct {
	Entry ipvs.Entry
	// Standings are those of the service's Servers, in their order.
	Standings []Standing
	// Up: the servers that are in reach the quorum. Pending: they do not, but
	// servers remain that were never checked, so it is too early to call the
	// service down.
	Up, Pending bool
	// Fallback: it is in use.
	Fallback bool
	// Capacity is the sum of weights of the servers that are in.
	Capacity int
	// Leaving counts destinations that are being drained.
	Leaving int
	// Drained are those that were, and whose last connection is over: they are
	// to be removed.
	Drained []netip.AddrPort
}

// Decide says what the kernel should have for a service at a time. have are the
// destinations the kernel has now, which only matter for those on their way
// out; m.Leaving and m.Up are brought up to date and are all that changes.
func Decide(now time.Time, v *VirtualService, m *Memory, have []ipvs.DestinationInfo) Decision {
	d := Decision{Entry: ipvs.Entry{Service: v.Service}, Standings: make([]Standing, len(v.Servers))}
	unsure := false
	for i := range v.Servers {
		s := stand(now, v, &v.Servers[i], m.Server(v.Servers[i].Addr))
		d.Standings[i] = s
		d.Capacity += int(s.full)
		unsure = unsure || s.Place == Absent && s.Cause == CauseUnchecked
	}
	d.Up = d.Capacity >= v.needs(m.Up)
	if d.Pending = !d.Up && unsure; !d.Pending {
		m.Up = d.Up
	}
	d.Fallback = !d.Up && !d.Pending && len(v.Fallback)+len(v.FallbackCommand) > 0
	if d.Fallback && len(v.Fallback) > 0 {
		quiesceAll(d.Standings) // the fallback stands in for them, not beside them
	}
	d.place(now, v, m, have)
	return d
}

// needs is the sum of weights that it takes to be up, for a service that is so
// far or that is not. All servers together are always enough.
func (v *VirtualService) needs(up bool) int {
	quorum := max(v.Quorum, 1)
	if up {
		return max(quorum-v.Hysteresis, 1)
	}
	all := 0
	for i := range v.Servers {
		all += int(v.Servers[i].Weight)
	}
	return max(quorum, min(quorum+v.Hysteresis, all))
}

// quiesceAll takes new connections from servers that are too few to make a
// service: the established ones live on.
func quiesceAll(all []Standing) {
	for i := range all {
		if all[i].Place == In {
			all[i].Place, all[i].Weight, all[i].Cause = Quiesced, 0, CauseQuorum
		}
	}
}

// place fills in the entry: servers, fallback, then those on their way out.
func (d *Decision) place(now time.Time, v *VirtualService, m *Memory, have []ipvs.DestinationInfo) {
	named := make(map[netip.AddrPort]bool, len(v.Servers))
	add := func(dest ipvs.Destination, weight int32) {
		dest.Weight = weight
		named[dest.Addr] = true
		d.Entry.Destinations = append(d.Entry.Destinations, dest)
	}
	for i, s := range d.Standings {
		if s.Place == In || s.Place == Quiesced {
			add(v.Servers[i].Destination, s.Weight)
		}
	}
	if d.Fallback {
		for _, f := range v.Fallback {
			if !named[f.Addr] {
				add(f, max(f.Weight, 1))
				continue
			}
			i := slices.IndexFunc(d.Entry.Destinations, func(o ipvs.Destination) bool { return o.Addr == f.Addr })
			d.Entry.Destinations[i].Weight = max(f.Weight, 1) // one of the servers is the last resort
		}
	}
	for i := range have {
		a := have[i].Addr
		_, known := m.Leaving[a]
		switch {
		case known && d.undecided(v, a):
		case named[a]:
			delete(m.Leaving, a)
		case m.stays(now, v, &have[i], d.limit(v, a)):
			add(have[i].Destination, 0)
			d.Leaving++
		case known && idle(v.Service.Protocol, &have[i]):
			d.Drained = append(d.Drained, a)
		}
	}
	m.forget(have)
}

// undecided reports whether a server is at weight 0 only because the kernel had it so
// at the start: it goes on leaving if that is what its first verdict says.
func (d *Decision) undecided(v *VirtualService, a netip.AddrPort) bool {
	i := slices.IndexFunc(v.Servers, func(r RealServer) bool { return r.Addr == a })
	return i >= 0 && d.Standings[i].Place == Quiesced && d.Standings[i].Cause == CauseAdopted
}

// fallbackPatience is how long connections to a fallback that is no longer
// needed may last where the service itself has no drain: the fallback did
// nothing wrong, and who reads its page should get all of it.
const fallbackPatience = time.Minute

// limit is how long a destination may take to leave.
func (d *Decision) limit(v *VirtualService, a netip.AddrPort) limit {
	for i := range v.Servers {
		if v.Servers[i].Addr == a {
			return d.Standings[i].leave
		}
	}
	if v.Drain == 0 {
		for _, f := range v.Fallback {
			if f.Addr == a {
				return limit{after: fallbackPatience}
			}
		}
	}
	return limit{after: v.Drain}
}
