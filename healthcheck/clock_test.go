package healthcheck

import (
	"crypto/x509"
	"testing"
	"time"
)

// TestOurClock: a certificate that ended is the server's fault, and one that
// ended only because our clock was set is not.
func TestOurClock(t *testing.T) {
	was := clock
	defer func() { clock = was }()
	invalid := func(from, to time.Duration) error {
		now := time.Now().Round(0)
		return x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{NotBefore: now.Add(from), NotAfter: now.Add(to)}}
	}
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		name  string
		set   time.Duration // of our wall clock, since we began
		cert  error
		wants Verdict
	}{
		{"ended yesterday", 0, invalid(-year, -24*time.Hour), Down},
		{"not begun", 0, invalid(time.Hour, year), Down},
		{"ended by a clock set forward", year, invalid(-year, -24*time.Hour), Unknown},
		{"not begun by a clock set back", -year, invalid(-time.Hour+year, 2*year), Unknown},
		{"ended long before the clock was set", year, invalid(-3*year, -2*year), Down},
	} {
		clock.wall = was.wall.Add(-test.set)
		if got := Judge(ourClock(&handshakeError{test.cert})); got != test.wants {
			t.Errorf("%s: %v, want %v (%v)", test.name, got, test.wants, ourClock(test.cert))
		}
	}
}
