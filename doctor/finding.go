package doctor

import "fmt"

// Severity says how bad a finding is. The zero value is Error.
type Severity uint8

// Error: traffic fails now. Warning: it fails for some, or will. Info: worth
// knowing, nothing fails.
const (
	Error Severity = iota
	Warning
	Info
)

var severities = [...]string{"error", "warning", "info"}

func (s Severity) String() string {
	if int(s) < len(severities) {
		return severities[s]
	}
	return fmt.Sprint(uint8(s))
}

// MarshalText gives error, warning or info.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Severity) UnmarshalText(b []byte) error {
	for i, name := range severities {
		if name == string(b) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("unknown severity %q", b)
}

// Finding is one thing that is wrong: one cause, not each of its symptoms.
type Finding struct {
	// ID is the short name of the fault in docs/doctor.md; it never changes.
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// Object is what it is about: a service, "10.9.0.11:80 of tcp 192.0.2.10:80",
	// an address, an interface; empty for the host as a whole.
	Object string `json:"object,omitempty"`
	Seen   string `json:"seen"` // with the numbers
	Why    string `json:"why"`  // what comes of it
	// Fix are commands, to be typed on this host unless a line begins with "# on".
	Fix []string `json:"fix"`
	// Undo takes Fix back; empty where that is plain.
	Undo []string `json:"undo,omitempty"`
}

// Unknown is something that could not be seen, and so was not judged.
type Unknown struct {
	What string `json:"what"` // "ARP answers"
	Why  string `json:"why"`  // "no CAP_NET_RAW"
}

// Report is what [Diagnose] makes of a host.
type Report struct {
	Host  string   `json:"host"`
	Roles []string `json:"roles"` // director, realserver; none when it is neither
	// Service is the one service the report is about; empty for all.
	Service  string    `json:"service,omitempty"`
	Probes   []Probe   `json:"probes,omitempty"` // only with a service
	Findings []Finding `json:"findings"`
	Unknown  []Unknown `json:"unknown"`
}

// Count tells how many findings are of a severity.
func (r *Report) Count(s Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}
