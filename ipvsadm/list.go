package ipvsadm

import (
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/goipvs/goipvs/ipvs"
)

// Reader is the kernel as a listing needs it; an *ipvs.Client is one.
// Destinations appends to the buffer it is given.
type Reader interface {
	Info() (ipvs.Info, error)
	Services() ([]ipvs.ServiceInfo, error)
	Service(ipvs.ServiceKey) (ipvs.ServiceInfo, error)
	Destinations(ipvs.ServiceKey, []ipvs.DestinationInfo) ([]ipvs.DestinationInfo, error)
}

// View is what a listing shows of a table. The zero value is ipvsadm's default.
type View uint8

// The views of -L, in the order of their options: none, --tun-info, --stats,
// --rate, --thresholds, --persistent-conn.
const (
	ViewDefault View = iota
	ViewTunnel
	ViewStats
	ViewRate
	ViewThresholds
	ViewPersistent
)

// ListOptions say how a listing looks. The zero value is "ipvsadm -Ln".
type ListOptions struct {
	View   View      // ignored with JSON, which has everything
	Names  *Resolver // nil prints numbers (-n)
	Exact  bool      // counters in full, not in K, M, G, T
	NoSort bool      // the kernel's order
	JSON   bool      // one JSON document, see docs/json.md
}

// List prints every service with its destinations under a version line and a
// title. It reads destinations service by service, so a service deleted in
// between is left out.
func List(w io.Writer, k Reader, o ListOptions) error {
	info, err := k.Info()
	if err != nil {
		return err
	}
	services, err := k.Services()
	if err != nil {
		return err
	}
	if !o.NoSort {
		sortServices(services)
	}
	out := &output{w: w}
	if o.JSON {
		return listJSON(out, k, info, services, o)
	}
	out.b = appendVersion(out.b, info)
	return listText(out, k, services, o)
}

// ListService prints one service, without the version line. When there is no
// such service it prints nothing and the error is ipvs.ErrNoService.
func ListService(w io.Writer, k Reader, key ipvs.ServiceKey, o ListOptions) error {
	s, err := k.Service(key)
	if err != nil {
		return err
	}
	services := []ipvs.ServiceInfo{s}
	out := &output{w: w}
	if !o.JSON {
		return listText(out, k, services, o)
	}
	info, err := k.Info()
	if err != nil {
		return err
	}
	return listJSON(out, k, info, services, o)
}

func listText(out *output, k Reader, services []ipvs.ServiceInfo, o ListOptions) error {
	r := tableReader{k: k, noSort: o.NoSort}
	if err := r.names(o.Names, services); err != nil {
		return err
	}
	f := textView{o.View, o.Names, o.Exact}
	out.b = f.title(out.b)
	return out.end(r.each(services, func(s *ipvs.ServiceInfo, ds []ipvs.DestinationInfo) error {
		out.b = f.service(out.b, s)
		for i := range ds {
			out.b = f.destination(out.b, s, &ds[i])
		}
		return out.spill()
	}))
}

// tableReader reads the destinations of services one after the other.
type tableReader struct {
	k        Reader
	noSort   bool
	thorough bool // see complete
	buf      []ipvs.DestinationInfo
}

// onePart is the number of destinations that a listing has all of, as they come
// in one piece of 32 KiB.
const onePart = 64

// each calls f with every service that is still there. f must not keep the
// slice. A Reader that finds no destinations knows whether the service exists.
func (r *tableReader) each(services []ipvs.ServiceInfo, f func(*ipvs.ServiceInfo, []ipvs.DestinationInfo) error) error {
	for i := range services {
		ds, err := r.k.Destinations(services[i].ServiceKey, r.buf[:0])
		if errors.Is(err, ipvs.ErrNoService) {
			continue
		}
		if err != nil {
			return err
		}
		if r.thorough && len(ds) > onePart {
			ds, err = complete(ds, func() ([]ipvs.DestinationInfo, error) { return r.k.Destinations(services[i].ServiceKey, nil) }, byAddr)
			if errors.Is(err, ipvs.ErrNoService) {
				continue
			}
			if err != nil {
				return err
			}
		}
		if !r.noSort {
			sortDestinations(ds)
		}
		if err := f(&services[i], ds); err != nil {
			return err
		}
		r.buf = ds
	}
	return nil
}

// names asks for the names of all addresses at once, so that one slow name
// server is waited for once. It costs a second reading of the table, which only
// a listing with names pays.
func (r *tableReader) names(names *Resolver, services []ipvs.ServiceInfo) error {
	if names == nil {
		return nil
	}
	err := r.each(services, func(s *ipvs.ServiceInfo, ds []ipvs.DestinationInfo) error {
		names.want(s.Addr.Addr())
		for i := range ds {
			names.want(ds[i].Addr.Addr())
		}
		return nil
	})
	names.lookup()
	return err
}

func sortServices(s []ipvs.ServiceInfo) {
	slices.SortFunc(s, byKey)
}

// sortDestinations sorts by family, address and port, truly ascending.
func sortDestinations(d []ipvs.DestinationInfo) {
	slices.SortFunc(d, byAddr)
}

func byKey(a, b ipvs.ServiceInfo) int      { return a.ServiceKey.Compare(b.ServiceKey) }
func byAddr(a, b ipvs.DestinationInfo) int { return a.Addr.Compare(b.Addr) }

// appendVersion is the first line. Full NAT may be there without IPVS, and scripts
// count on a line.
func appendVersion(b []byte, i ipvs.Info) []byte {
	if i == (ipvs.Info{}) {
		return append(b, "IP Virtual Server: none in the kernel, full NAT of goipvsd\n"...)
	}
	b = appendKernelVersion(append(b, "IP Virtual Server version "...), i.Version)
	b = strconv.AppendUint(append(b, " (size="...), uint64(i.ConnTabSize), 10)
	return append(b, ")\n"...)
}

func appendKernelVersion(b []byte, v ipvs.Version) []byte {
	b = strconv.AppendUint(b, uint64(v.Major), 10)
	b = strconv.AppendUint(append(b, '.'), uint64(v.Minor), 10)
	return strconv.AppendUint(append(b, '.'), uint64(v.Patch), 10)
}
