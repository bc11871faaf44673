package doctor

import (
	"fmt"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// Probe is what happened to a packet that was sent to a real server as IPVS
// would send it, and to a connection to the server's own address.
type Probe struct {
	Service     string `json:"service"`
	Destination string `json:"destination"`
	Method      string `json:"method"`
	// Outcome is what a SYN, or a datagram, to the virtual address came to.
	// With NAT, where packets carry the server's own address, it is Direct.
	Outcome Outcome `json:"outcome"`
	Direct  Outcome `json:"direct"`           // of a connection to the real server's own address
	Detail  string  `json:"detail,omitempty"` // what was received
	MAC     string  `json:"mac,omitempty"`    // who sent it
}

// Outcome of a probe. The zero value: none was made.
type Outcome uint8

// The outcomes: a SYN-ACK or a datagram; a reset or port unreachable; nothing;
// the packet itself, sent back; ICMP that says that nobody takes packets out of
// the tunnel, or nobody now; ICMP from a firewall; no way to send it at all.
const (
	NotTried Outcome = iota
	Answered
	Refused
	Silent
	Looped
	NoReceiver
	DeviceDown
	Forbidden
	Unsent
)

var outcomes = [...]string{"not tried", "answered", "refused", "silent", "looped", "no receiver", "device down", "forbidden", "not sent"}

func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return fmt.Sprint(uint8(o))
}

// MarshalText gives the word of the outcome.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (o *Outcome) UnmarshalText(b []byte) error {
	i := slices.Index(outcomes[:], string(b))
	if i < 0 {
		return fmt.Errorf("unknown outcome %q", b)
	}
	*o = Outcome(i)
	return nil
}

func (f *Facts) probe(s Service, d ipvs.DestinationInfo) (Probe, bool) {
	for _, p := range f.Probes {
		if p.Service == s.ServiceKey.String() && p.Destination == d.Addr.String() {
			return p, true
		}
	}
	return Probe{}, false
}

// looped tells whether few connections of small packets made many of them.
func looped(d ipvs.DestinationInfo) bool {
	s := d.Stats
	return s.Conns > 0 && s.InPkts/s.Conns > 10 && s.InBytes/s.InPkts < 80
}

// serviceArg is the service as --service takes it.
func (f *Facts) serviceArg(s Service) string { return ServiceArg(s.ServiceKey) }
