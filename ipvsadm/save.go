package ipvsadm

import (
	"io"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// SaveOptions say how [Save] prints. The zero value is "ipvsadm -Sn".
type SaveOptions struct {
	Names *Resolver // nil prints numbers (-n)
}

// Save prints the table as rules that restore it: everything a rule can say,
// thresholds included, in the order of a listing. Timeouts and sync daemons are
// not part of the table. Names are for people: they may mean another address
// when the rules are read.
func Save(w io.Writer, k Reader, o SaveOptions) error {
	services, err := allServices(k)
	if err != nil {
		return err
	}
	r := tableReader{k: k, thorough: true}
	if err := r.names(o.Names, services); err != nil {
		return err
	}
	out := &output{w: w}
	rule := ruleWriter{names: o.Names, inEffect: true}
	return out.end(r.each(services, func(s *ipvs.ServiceInfo, ds []ipvs.DestinationInfo) error {
		out.b = append(rule.service(out.b, "-A ", &s.Service), '\n')
		for _, l := range s.Locals {
			out.b = append(rule.local(out.b, "-P ", s.ServiceKey, l.Addr), '\n')
		}
		for i := range ds {
			out.b = append(rule.destination(out.b, "-a ", s.ServiceKey, &ds[i].Destination), '\n')
		}
		return out.spill()
	}))
}

// maxListings bounds how often the services are listed while new ones appear.
const maxListings = 5

// allServices lists the services, sorted. Services that have gone since stay
// in: reading their destinations will tell.
func allServices(k Reader) ([]ipvs.ServiceInfo, error) {
	all, err := k.Services()
	if err != nil {
		return nil, err
	}
	return complete(all, k.Services, byKey)
}

// complete sorts a listing and lists again until there is nothing that the
// listings before lacked. One is not enough for what will be restored one day:
// while others delete entries it leaves out some that nobody touched.
func complete[T any](all []T, list func() ([]T, error), compare func(a, b T) int) ([]T, error) {
	slices.SortFunc(all, compare)
	for range maxListings - 1 {
		again, err := list()
		if err != nil {
			return nil, err
		}
		again = slices.DeleteFunc(again, func(e T) bool {
			_, known := slices.BinarySearchFunc(all, e, compare)
			return known
		})
		if len(again) == 0 {
			break
		}
		all = append(all, again...)
		slices.SortFunc(all, compare)
	}
	return all, nil
}
