package healthcheck

import (
	"context"
	"crypto/tls"
	"net"
)

// Ways to use TLS, in TLS.Mode.
const (
	tlsOff      = "off"      // not at all
	tlsOn       = "on"       // from the first byte
	tlsStartTLS = "starttls" // asked for by a command of the protocol; a server without it is down
)

// security is when and how a check speaks TLS.
type security struct {
	mode   string
	config *tls.Config
}

// newSecurity reads the check's TLS settings. The type can do these modes; the
// first is what it does when the check names none.
func newSecurity(c Check, modes ...string) (*security, error) {
	mode, err := c.tlsMode(modes...)
	if err != nil || mode == tlsOff {
		return &security{mode: mode}, err
	}
	config, err := tlsConfig(c)
	return &security{mode, config}, err
}

// dial connects to the server by TCP, and begins TLS where it is on from the
// start.
func (s *security) dial(ctx context.Context, d *Dialer) (net.Conn, error) {
	c, err := d.Dial(ctx, "tcp")
	if err != nil || s.mode != tlsOn {
		return c, err
	}
	return d.StartTLS(ctx, c, s.config)
}
