package ipvsadm

import (
	"io"

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
	services, err := k.Services()
	if err != nil {
		return err
	}
	sortServices(services)
	r := tableReader{k: k}
	if err := r.names(o.Names, services); err != nil {
		return err
	}
	out := &output{w: w}
	rule := ruleWriter{names: o.Names, inEffect: true}
	return out.end(r.each(services, func(s *ipvs.ServiceInfo, ds []ipvs.DestinationInfo) error {
		out.b = append(rule.service(out.b, "-A ", &s.Service), '\n')
		for i := range ds {
			out.b = append(rule.destination(out.b, "-a ", s.ServiceKey, &ds[i].Destination), '\n')
		}
		return out.spill()
	}))
}
