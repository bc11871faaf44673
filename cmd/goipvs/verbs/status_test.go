package verbs

import (
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
)

// TestProblem: what an operator looks for among thousands of services.
func TestProblem(t *testing.T) {
	well := func() control.ServiceStatus {
		return control.ServiceStatus{State: "up", Servers: []control.ServerStatus{
			{Verdict: "up", Place: "in", Cause: "healthy", Checks: []control.Check{{Verdict: "up"}}},
			{Verdict: "up", Place: "in", Cause: "slow_start"},
			{Verdict: "up", Place: "quiesced", Cause: "healthy"}, // weight 0 in the file
		}}
	}
	for name, c := range map[string]struct {
		change func(*control.ServiceStatus)
		want   bool
	}{
		"well":             {func(*control.ServiceStatus) {}, false},
		"by command":       {func(s *control.ServiceStatus) { s.ByCommand, s.Servers[0].Verdict = true, "unchecked" }, false},
		"down":             {func(s *control.ServiceStatus) { s.State = "down" }, true},
		"pending":          {func(s *control.ServiceStatus) { s.State = "pending" }, true},
		"fallback":         {func(s *control.ServiceStatus) { s.Fallback = true }, true},
		"refused":          {func(s *control.ServiceStatus) { s.Refused = "no memory" }, true},
		"drift":            {func(s *control.ServiceStatus) { s.Drift = "service changed" }, true},
		"a server is down": {func(s *control.ServiceStatus) { s.Servers[1].Verdict = "down" }, true},
		"maintenance":      {func(s *control.ServiceStatus) { s.Servers[1].Maintenance = "10.0.0.1" }, true},
		"override":         {func(s *control.ServiceStatus) { s.Servers[1].Override = &control.Override{Kind: "drain"} }, true},
		"cannot check": {func(s *control.ServiceStatus) {
			s.Servers[0].Checks[0] = control.Check{Verdict: "unknown", Reason: "no route"}
		}, true},
		"warning": {func(s *control.ServiceStatus) { s.Servers[0].Checks[0].Warning = "the certificate ends" }, true},
	} {
		s := well()
		if c.change(&s); problem(&s) != c.want {
			t.Errorf("%s: want %v", name, c.want)
		}
	}
}

// TestNearlyFull: user space is told of before clients have to wait for
// descriptors.
func TestNearlyFull(t *testing.T) {
	for n, want := range map[uint64]string{8: "", 9: "USER SPACE nearly full: 9 connections of 10, by the limit of file descriptors\n"} {
		var b strings.Builder
		printStatus(&b, &control.Status{Kernel: "ok", Time: time.Now(), Userspace: &control.Userspace{Connections: n, Limit: 10}}, "")
		if _, rest, _ := strings.Cut(b.String(), "\n"); !strings.HasPrefix(rest, want) || want == "" && strings.Contains(rest, "full") {
			t.Errorf("%d of 10: %q", n, rest)
		}
	}
}
