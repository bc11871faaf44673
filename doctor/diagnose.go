package doctor

import (
	"cmp"
	"slices"
)

// A rule looks for one fault. It is pure.
type rule struct {
	id   string
	find func(*Facts) []Finding
}

// Diagnose judges the facts. It is pure: the same facts give the same report,
// in the order in which faults should be mended.
func Diagnose(f *Facts) Report {
	r := Report{Host: f.Host, Roles: f.roles(), Probes: f.Probes, Findings: []Finding{}, Unknown: []Unknown{}}
	if f.Hints.Service != nil {
		r.Service = f.Hints.Service.String()
	}
	for _, rule := range rules() {
		for _, x := range rule.find(f) {
			x.ID = rule.id
			same := func(y Finding) bool { return x.ID == y.ID && x.Object == y.Object && x.Seen == y.Seen }
			if !slices.ContainsFunc(r.Findings, same) {
				r.Findings = append(r.Findings, x)
			}
		}
	}
	r.Findings = causes(r.Findings)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.Severity, b.Severity) })
	r.Unknown = append(append(r.Unknown, f.Unknown...), f.blindSpots()...)
	return r
}

// causes leaves out what is only a symptom of another finding.
func causes(all []Finding) []Finding {
	there := map[string]bool{}
	for _, x := range all {
		there[x.ID] = true
	}
	return slices.DeleteFunc(all, func(x Finding) bool {
		return slices.ContainsFunc(symptomOf[x.ID], func(cause string) bool { return there[cause] })
	})
}
