package director

import (
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// wanted is what to ask the kernel for, false when nothing. Where drift is only
// reported, what others changed stays as they left it, and only our own news
// are added.
func (v *service) wanted(set *Settings) (ipvs.Entry, bool) {
	want := v.decision.Entry
	if !set.ReportDrift || v.made == nil || v.drift == "" {
		return want, true
	}
	if v.seen.Service.Scheduler == "" {
		return ipvs.Entry{}, false // somebody removed the service
	}
	have := ipvs.Entry{Service: v.seen.Service}
	for i := range v.have {
		have.Destinations = append(have.Destinations, v.have[i].Destination)
	}
	return merge(have, *v.made, want), true
}

// merge applies to have what changed from made to want.
func merge(have, made, want ipvs.Entry) ipvs.Entry {
	out := ipvs.Entry{Service: have.Service}
	if made.Service != want.Service {
		out.Service = want.Service
	}
	old, new := byAddr(made), byAddr(want)
	for _, d := range have.Destinations {
		w, wanted := new[d.Addr]
		o, known := old[d.Addr]
		switch {
		case wanted && (!known || o != w):
			out.Destinations = append(out.Destinations, w)
		case wanted || !known:
			out.Destinations = append(out.Destinations, d)
		}
	}
	there := byAddr(have)
	for _, w := range want.Destinations {
		_, has := there[w.Addr]
		o, known := old[w.Addr]
		if !has && (!known || o != w) {
			out.Destinations = append(out.Destinations, w)
		}
	}
	return out
}

// ours are the destinations that are ours to take away: where drift is only
// reported, those of others are not.
func (v *service) ours(set *Settings) []ipvs.DestinationInfo {
	if !set.ReportDrift || v.made == nil {
		return v.have
	}
	made := byAddr(*v.made)
	return slices.DeleteFunc(slices.Clone(v.have), func(d ipvs.DestinationInfo) bool {
		_, ours := made[d.Addr]
		return !ours
	})
}

func byAddr(e ipvs.Entry) map[netip.AddrPort]ipvs.Destination {
	m := make(map[netip.AddrPort]ipvs.Destination, len(e.Destinations))
	for _, d := range e.Destinations {
		m[d.Addr] = d
	}
	return m
}
