package doctor

import (
	"fmt"

	"github.com/goipvs/goipvs/ipvs"
)

func persistentDeadServer(f *Facts) (found []Finding) {
	if !f.knobIs("expire_quiescent_template", 0) {
		return nil
	}
	for _, s := range f.Services {
		for _, d := range s.Destinations {
			n := f.templates(s, d)
			if s.Flags&ipvs.Persistent == 0 || d.Weight != 0 || n == 0 {
				continue
			}
			found = append(found, Finding{
				Severity: Warning,
				Object:   object(s, d),
				Seen:     fmt.Sprintf("the real server has weight 0, but %d persistent clients are bound to it, and expire_quiescent_template is 0", n),
				Why:      "these clients go on to be sent to it, with new connections too, for the persistence time of %s after their last one",
				Fix:      []string{setKnob("expire_quiescent_template", 1)},
				Undo:     []string{f.unsetKnob("expire_quiescent_template")},
			})
			found[len(found)-1].Why = fmt.Sprintf(found[len(found)-1].Why, s.Timeout)
		}
	}
	return found
}

// templates counts the persistent clients of a destination.
func (f *Facts) templates(s Service, d ipvs.DestinationInfo) (n int) {
	for _, c := range f.Connections {
		if c.Template && f.of(c, s) && c.Destination.Addr() == d.Addr.Addr() {
			n += c.Count
		}
	}
	return max(n, int(d.Persistent))
}

// persistenceSkew: many connections, few clients, one server has most of them.
func persistenceSkew(f *Facts) (found []Finding) {
	const enough = 10
	for _, s := range f.Services {
		if s.Flags&ipvs.Persistent == 0 || len(s.Destinations) < 2 {
			continue
		}
		var conns, weight, clients int
		for _, d := range s.Destinations {
			conns, weight, clients = conns+int(d.Active+d.Inactive), weight+int(d.Weight), clients+f.templates(s, d)
		}
		for _, d := range s.Destinations {
			n := int(d.Active + d.Inactive)
			if conns < enough || d.Weight == 0 || n*weight < 2*conns*int(d.Weight) || clients*2 > conns {
				continue
			}
			found = append(found, Finding{
				Severity: Warning,
				Object:   object(s, d),
				Seen: fmt.Sprintf("%d of %d connections are on it, though its weight is %d of %d; they come of %d persistent clients",
					n, conns, d.Weight, weight, clients),
				Why:  "with persistence a client stays with its server, and many users behind one address are one client; a test from one host sees one server only",
				Fix:  []string{"goipvs -E " + serviceFlag(s.ServiceKey) + " -s mh -b mh-port", "# or a shorter time: -p 60"},
				Undo: []string{fmt.Sprintf("goipvs -E %s -s %s -p %d", serviceFlag(s.ServiceKey), s.Scheduler, int(s.Timeout.Seconds()))},
			})
		}
	}
	return found
}
