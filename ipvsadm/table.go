package ipvsadm

import (
	"fmt"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// Rules are the rules that make a table, numbers only.
func Rules(t ipvs.Table) (rules []string) {
	for i := range t {
		e := &t[i]
		rules = append(rules, string(AppendServiceRule(nil, &e.Service)))
		for _, a := range e.Locals {
			rules = append(rules, string(ruleWriter{}.local(nil, "-P ", e.Service.ServiceKey, a)))
		}
		for j := range e.Destinations {
			rules = append(rules, string(AppendDestinationRule(nil, e.Service.ServiceKey, &e.Destinations[j])))
		}
	}
	return rules
}

// Table reads what Rules wrote: -A, -P and -a, each -A in front of what belongs
// to it.
func Table(rules []string) (t ipvs.Table, err error) {
	at := make(map[ipvs.ServiceKey]int)
	for _, rule := range rules {
		c, err := Parse(strings.Fields(rule), nil)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", rule, err)
		}
		i, known := at[c.Change.Service.ServiceKey]
		switch {
		case known == (c.Action == ActionAddService):
			return nil, fmt.Errorf("rule %q: is there a service for it, and only one?", rule)
		case c.Action == ActionAddService:
			at[c.Change.Service.ServiceKey] = len(t)
			t = append(t, ipvs.Entry{Service: c.Change.Service})
		case c.Action == ActionAddServer:
			t[i].Destinations = append(t[i].Destinations, c.Change.Destination)
		case c.Action == ActionAddLocal:
			t[i].Locals = append(t[i].Locals, c.Change.Local)
		default:
			return nil, fmt.Errorf("rule %q: -A, -P and -a make a table", rule)
		}
	}
	return t, nil
}
