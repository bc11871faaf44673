package healthcheck

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A state is a check of a real server, and what it must say. Several types use
// these; each file of the real servers has a table of them.
type state struct {
	name  string
	check Check
	port  uint16
	want  string // part of the reason; "": up
	warn  string // part of the warning
}

// patient is far more than any of these servers takes.
const patient = 30 * time.Second

func (s state) test(t *testing.T) {
	t.Helper()
	t.Run(s.check.Type+" "+s.name, func(t *testing.T) {
		res := lookAt(t, s.check, loopback(s.port))
		judgeState(t, s, res)
	})
}

func lookAt(t *testing.T, c Check, target Target) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	res, err := Look(ctx, c, target)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func judgeState(t *testing.T, s state, res Result) {
	t.Helper()
	switch got := Judge(res.Err); {
	case s.want == "" && res.Err != nil:
		t.Errorf("not up: %v\n%s", res.Err, res.Transcript)
	case s.want != "" && got != Down:
		t.Errorf("%v, want down: %v\n%s", got, res.Err, res.Transcript)
	case s.want != "" && !strings.Contains(res.Err.Error(), s.want):
		t.Errorf("reason %q, want %q in it\n%s", res.Err, s.want, res.Transcript)
	}
	if !strings.Contains(res.Warning, s.warn) || s.warn == "" && res.Warning != "" {
		t.Errorf("warning %q, want %q in it", res.Warning, s.warn)
	}
	for _, secret := range []string{s.check.Password, s.check.Secret} {
		if secret != "" && strings.Contains(res.Transcript, secret) {
			t.Errorf("the secret is in the transcript:\n%s", res.Transcript)
		}
	}
}

func loopback(port uint16) Target {
	return Target{Real: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
}
