package daemon

import (
	"encoding/json"
	"net/netip"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
)

// stateJSON is the form of the file: Persistent has a form of its own, which an
// embedded field would not keep.
type stateJSON struct {
	Director  director.Persistent   `json:"director"`
	Addresses map[string]netip.Addr `json:"addresses,omitempty"`
	VIPs      map[string]string     `json:"vips,omitempty"`
	Services  []fullnat.Service     `json:"proxied,omitempty"`
	Rules     []string              `json:"rules,omitempty"`
	Timeouts  ipvs.Timeouts         `json:"timeouts,omitzero"`
	Sysctls   []sysctl.Change       `json:"sysctls,omitempty"`
}

func stateFile(s state) stateJSON {
	return stateJSON{s.Persistent, s.Addresses, s.VIPs, s.Services, s.Rules, s.Timeouts, s.Sysctls}
}

func (j *stateJSON) state() state {
	return state{Persistent: j.Director, Addresses: j.Addresses, VIPs: j.VIPs, Services: j.Services, Rules: j.Rules, Timeouts: j.Timeouts, Sysctls: j.Sysctls}
}

// UnmarshalJSON reads the file's form.
func (s *state) UnmarshalJSON(b []byte) error {
	var j stateJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = j.state()
	return nil
}
