package ipvs

import (
	"errors"
	"net/netip"
	"slices"
)

// Lister is the reading half of a kernel, as [Read] needs it.
type Lister interface {
	Services() ([]ServiceInfo, error)
	Destinations(k ServiceKey, buf []DestinationInfo) ([]DestinationInfo, error)
}

// maxListings bounds how often Read lists a table that others keep changing.
const maxListings = 5

// Snapshot is a table as [Read] found it.
type Snapshot struct {
	Table Table
	// Settled: two listings in a row agreed. Otherwise others were writing all
	// the time, Table holds whatever was seen in any listing, and what is not
	// in it may exist all the same.
	Settled bool
}

// Read lists the kernel's table until two listings in a row agree, five times
// at most. A dump resumes by position while others insert and delete, so one
// alone can miss entries that were there throughout, and the kernel does not
// mark it (ip_vs_genl_dump_services, ip_vs_genl_dump_dests).
func Read(l Lister) (Snapshot, error) { return read(l, nil, false) }

// read is Read for the services in only, or for all when that is nil. What
// others do to services that nobody asked for then disturbs nothing.
func read(l Lister, only map[ServiceKey]bool, singly bool) (Snapshot, error) {
	var seen, last Table
	for n := range maxListings {
		t, whole, err := list(l, only, singly)
		if err != nil {
			return Snapshot{}, err
		}
		if n > 0 && whole && same(last, t) {
			return Snapshot{t, true}, nil
		}
		seen, last = union(seen, t), t
	}
	return Snapshot{seen, false}, nil
}

// list makes one listing; whole is false when a service went away during it.
func list(l Lister, only map[ServiceKey]bool, singly bool) (t Table, whole bool, err error) {
	services, err := servicesOf(l, only, singly)
	if err != nil {
		return nil, false, err
	}
	t, whole = make(Table, 0, len(services)), true
	var buf []DestinationInfo
	for i := range services {
		buf, err = l.Destinations(services[i].ServiceKey, buf[:0])
		if errors.Is(err, ErrNoService) {
			whole = false
			continue
		}
		if err != nil {
			return nil, false, err
		}
		ds := make([]Destination, len(buf))
		for j := range buf {
			ds[j] = buf[j].Destination
		}
		t = append(t, Entry{Service: services[i].Service, Destinations: ds, Locals: services[i].locals()})
	}
	return t, whole, nil
}

// finder is a Lister that can also read one service: Client is one.
type finder interface {
	Service(k ServiceKey) (ServiceInfo, error)
}

// few is up to how many services are read one by one, see ReconcileOptions.Singly.
const few = 16

// servicesOf lists the services in only, or all when that is nil.
func servicesOf(l Lister, only map[ServiceKey]bool, singly bool) ([]ServiceInfo, error) {
	if f, ok := l.(finder); ok && singly {
		if list, ok := find(f, only); ok {
			return list, nil
		}
	}
	all, err := l.Services() // its error is that of the kernel as a whole
	if err == nil && only != nil {
		all = slices.DeleteFunc(all, func(s ServiceInfo) bool { return !only[s.ServiceKey] })
	}
	return all, err
}

func find(f finder, keys map[ServiceKey]bool) (list []ServiceInfo, ok bool) {
	for k := range keys {
		s, err := f.Service(k)
		if errors.Is(err, ErrNoService) {
			continue
		} else if err != nil {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

// same reports whether two listings hold the same, in whatever order: two
// dumps of one unchanged table may differ in it when services are rehashed.
func same(a, b Table) bool {
	if len(a) != len(b) {
		return false
	}
	in := index(a)
	var ds map[netip.AddrPort]Destination
	for i := range b {
		e := in[b[i].Service.ServiceKey]
		if e == nil || e.Service != b[i].Service || !slices.Equal(e.Locals, b[i].Locals) || len(e.Destinations) != len(b[i].Destinations) {
			return false
		}
		ds = destinations(ds, e)
		for _, d := range b[i].Destinations {
			if old, ok := ds[d.Addr]; !ok || old != normal(d) {
				return false
			}
		}
	}
	return true
}

// union is a and b; where both name something, b, the later listing, counts.
func union(a, b Table) Table {
	out, at := slices.Clone(b), make(map[ServiceKey]int, len(b))
	for i := range b {
		at[b[i].Service.ServiceKey] = i
	}
	for _, e := range a {
		if i, both := at[e.Service.ServiceKey]; both {
			out[i].Destinations = unionDestinations(e, out[i])
		} else {
			out = append(out, e)
		}
	}
	return out
}

func unionDestinations(a, b Entry) []Destination {
	out, in := slices.Clone(b.Destinations), destinations(nil, &b)
	for _, d := range a.Destinations {
		if _, both := in[d.Addr]; !both {
			out = append(out, d)
		}
	}
	return out
}
