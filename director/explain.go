package director

import (
	"fmt"
	"time"

	"github.com/goipvs/goipvs/director/control"
)

// Explain tells what happened to a service, or to a real server, and why it is
// where it is.
func (d *Director) Explain(subject, service string, checks Checks) (out control.Explanation, err error) {
	stopped := d.ask(func(s *state) {
		for _, key := range s.keys() {
			v := s.services[key]
			if v.Path {
				continue
			}
			s.countFailures(v)
			if service == "" && v.answersTo(subject) {
				out.Services = append(out.Services, control.ExplainedService{ServiceStatus: v.status(s.d.now(), checks), Timeline: v.events.control()})
			}
			if service == "" || v.answersTo(service) {
				out.Servers = append(out.Servers, v.explainServers(subject, s.d.now(), checks)...)
			}
		}
		switch {
		case len(out.Services)+len(out.Servers) > 0:
		case service == "":
			err = fmt.Errorf("%w, nor such a service: %s", ErrNoServer, subject)
		default:
			err = noServer(Selector{subject, service})
		}
	})
	if stopped != nil {
		return out, stopped
	}
	return out, err
}

func (v *service) explainServers(subject string, now time.Time, checks Checks) (out []control.ExplainedServer) {
	for i := range v.Servers {
		if v.Servers[i].answersTo(subject) {
			out = append(out, control.ExplainedServer{Of: v.Name, ServerStatus: v.serverStatus(now, i, checks), Timeline: v.history(v.Servers[i].Addr).control()})
		}
	}
	return out
}

func (t *timeline) control() []control.Event {
	out := make([]control.Event, 0, len(*t))
	for _, e := range *t {
		c := control.Event{Time: e.Time, Event: e.Kind.Name, Text: e.Kind.Brief, Reason: Clean(e.Reason)}
		for _, a := range e.Attrs {
			if c.Facts == nil {
				c.Facts = make(map[string]string)
			}
			c.Facts[a.Key] = Clean(a.Value.String())
		}
		out = append(out, c)
	}
	return out
}
