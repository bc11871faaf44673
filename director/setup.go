package director

import (
	"fmt"
	"slices"
	"time"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
)

// Setup is all that a configuration asks for, checked and resolved. The
// Director never changes one.
type Setup struct {
	Services []VirtualService
	Settings Settings
	// NoIPVS is why there is no IPVS on the machine; nil: there is.
	NoIPVS error
	// NoSourceNAT is why the kernel cannot do full NAT, by what services need; nil:
	// it can, or nobody has asked.
	NoSourceNAT map[snat.Need]error
	// Subjects are what is to be checked, grouped by server.
	Subjects []Subject
}

// Settings are those of the daemon as a whole.
type Settings struct {
	// Reconcile is how often the kernel's table is compared with what is
	// wanted; 0: it is not.
	Reconcile time.Duration
	// ReportDrift leaves what others changed as it is, and says so.
	ReportDrift bool
	// MaxRemoval is the share of the services that a reload may remove unforced.
	MaxRemoval float64
	HoldShare  float64       // see Hold
	HoldWindow time.Duration // see Hold
	// Drain is that of services which are no longer in the file.
	Drain  time.Duration
	OnStop StopMode
	// Timeouts are the kernel's connection timeouts; zeros keep its own.
	Timeouts ipvs.Timeouts
	Sync     []ipvs.Daemon
}

// StopMode is what happens to our services when the daemon stops.
type StopMode string

// The modes. Keep is the zero value's meaning, too.
const (
	StopKeep  StopMode = "keep"
	StopFlush StopMode = "flush"
	StopDrain StopMode = "drain"
)

func (s *Setup) machine() Machine { return Machine{s.NoIPVS, s.NoSourceNAT} }

// byKey finds the services of a Setup.
func (s *Setup) byKey() map[ipvs.ServiceKey]*VirtualService {
	m := make(map[ipvs.ServiceKey]*VirtualService, len(s.Services))
	for i := range s.Services {
		m[s.Services[i].Key()] = &s.Services[i]
	}
	return m
}

// ErrTooManyRemoved refuses a reload that is more likely a mistake than meant.
type ErrTooManyRemoved struct {
	Removed, Of int
	Share       float64
}

func (e *ErrTooManyRemoved) Error() string {
	return fmt.Sprintf("it removes %d of %d services, more than max_removal = %v allows", e.Removed, e.Of, e.Share)
}

// guard refuses a next Setup that removes too large a share of the services.
func (s *Setup) guard(next *Setup) error {
	kept := next.byKey()
	removed, all := 0, 0
	for i := range s.Services {
		if s.Services[i].Path {
			continue
		}
		all++
		if kept[s.Services[i].Key()] == nil {
			removed++
		}
	}
	if removed > 0 && float64(removed) > s.Settings.MaxRemoval*float64(all) {
		return &ErrTooManyRemoved{removed, all, s.Settings.MaxRemoval}
	}
	return nil
}

// server finds a real server by its address.
func (v *VirtualService) server(id ServerID) *RealServer {
	i := slices.IndexFunc(v.Servers, func(r RealServer) bool { return r.Addr == id.Addr })
	if i < 0 {
		return nil
	}
	return &v.Servers[i]
}
