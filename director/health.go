package director

import (
	"fmt"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
)

// Health is what checks say of a real server.
type Health uint8

// The healths. Unchecked is the state before the first definite verdict;
// unknown verdicts do not change a Health.
const (
	Unchecked Health = iota
	Up
	Down
)

var healths = [...]string{Unchecked: "unchecked", Up: "up", Down: "down"}

func (h Health) String() string {
	if int(h) < len(healths) {
		return healths[h]
	}
	return fmt.Sprint(uint8(h))
}

// Server is what is remembered of one real server. The zero value is one that
// nothing is known of.
type Server struct {
	Health Health
	Reason string    // why it is down
	Since  time.Time // of Health
	// Ramp is when the server came back, from when on it climbs; zero: it has
	// its weight.
	Ramp time.Time
	// Adopted: the kernel had the server before us, AdoptedIn: with a weight.
	// Counts until the first verdict.
	Adopted, AdoptedIn bool
	// Weight is what its checks say that it can bear; not said: the file's.
	Weight healthcheck.Weight
	// Failed: it was in when it failed.
	Failed bool
	// Held: it is down, but so is nearly everything, see massFailure.
	Held bool
	// Window is within what time its failure is found, see Hold; 0: as Hold says.
	Window time.Duration
	// Override is what an operator said of it; nil: nothing.
	Override *Override
	// Maintenance is the file in maintenance_dir that takes it out.
	Maintenance string
}

// Observe takes note of a definite verdict and reports whether it is news.
func (s *Server) Observe(now time.Time, h Health, reason string) bool {
	was := s.Health
	if h == was {
		if h == Down {
			s.Reason = reason
		}
		return false
	}
	s.Failed = h == Down && (was == Up || s.AdoptedIn)
	if was == Down && h == Up && !s.Held { // one that was held has never left
		s.Ramp = now
	}
	s.Health, s.Reason, s.Since, s.Held = h, reason, now, false
	return true
}
