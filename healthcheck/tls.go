package healthcheck

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// defaultWarn is how long before a certificate expires a check says so.
const defaultWarn = 14 * 24 * time.Hour

// tlsConfig reads the files that the check names and returns what all of its
// connections use. Protocols call it while they prepare.
func tlsConfig(c Check) (*tls.Config, error) {
	config := &tls.Config{
		ServerName:         c.TLS.ServerName,
		InsecureSkipVerify: c.TLS.Insecure,
		MinVersion:         tls.VersionTLS10, // what a server's clients may still need is not ours to judge
	}
	if config.ServerName == "" {
		config.ServerName = hostOnly(c.VirtualHost)
	}
	if err := loadAuthorities(config, c.TLS.CAFile); err != nil {
		return nil, err
	}
	return config, loadCertificate(config, c.TLS)
}

func loadAuthorities(config *tls.Config, file string) (err error) {
	if file == "" {
		return nil
	}
	if config.RootCAs, err = Authorities(file); err != nil {
		return fmt.Errorf("read the authorities to trust: %w", err)
	}
	return nil
}

func loadCertificate(config *tls.Config, o TLS) error {
	if o.CertFile == "" {
		if o.KeyFile != "" {
			return errors.New("a key for the client certificate, but no certificate")
		}
		return nil
	}
	cert, err := Certificate(o.CertFile, o.KeyFile)
	if err != nil {
		return fmt.Errorf("read the client certificate: %w", err)
	}
	config.Certificates = []tls.Certificate{cert}
	return nil
}

// hostOnly is a Host header without its port.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

// tlsClient speaks TLS on a connection of the dialer, verifies the server as
// the config says, and warns of a certificate that is about to expire. Without
// a name the server's address must be in the certificate.
func (d *Dialer) tlsClient(ctx context.Context, c net.Conn, config *tls.Config) (*plain, error) {
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = d.Address().Addr().String()
	}
	if g, ok := c.(*conn); ok {
		g.silent.Store(true)
	}
	d.Stage("in the TLS handshake")
	t := tls.Client(c, config)
	if err := t.HandshakeContext(ctx); err != nil {
		d.Note("TLS: %v", err)
		return nil, ourClock(&handshakeError{bare(err)})
	}
	d.Stage("waiting for an answer")
	d.describe(t.ConnectionState())
	return &plain{Conn: t, dialer: d}, nil
}

// handshakeError is the reason when TLS did not come about.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// clock is when this process began, by the clock of the wall, and since when.
var clock = struct{ wall, mono time.Time }{time.Now().Round(0), time.Now()}

// ourClock tells a certificate that has ended, or not begun, from a clock of
// ours that was set meanwhile: it is valid at the time that has really passed
// since we began. A clock that is wrong from the start cannot be told so.
func ourClock(err error) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || invalid.Cert == nil {
		return err
	}
	now := clock.wall.Add(time.Since(clock.mono))
	if now.Before(invalid.Cert.NotBefore) || now.After(invalid.Cert.NotAfter) {
		return err
	}
	return ours(fmt.Errorf("%w, but only since the director's clock was set, by %v", err, time.Since(now).Round(time.Second)))
}

// describe writes down what was agreed, and warns of what ends soon.
func (d *Dialer) describe(s tls.ConnectionState) {
	cert := s.PeerCertificates[0]
	d.Note("%s, certificate of %q until %s", tls.VersionName(s.Version), cert.Subject.CommonName, cert.NotAfter.UTC().Format(time.RFC3339))
	warn := d.Check.TLS.Warn
	if warn == 0 {
		warn = defaultWarn
	}
	if left := time.Until(cert.NotAfter); warn > 0 && left < warn {
		d.Warn("the certificate expires on %s", cert.NotAfter.UTC().Format(time.RFC3339))
	}
}

// plain is what is said inside of TLS, written down.
type plain struct {
	*tls.Conn
	dialer *Dialer
}

// Read reads what the server said.
func (p *plain) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.dialer.transcript.received(b[:n])
	return n, err
}

// Write says something to the server.
func (p *plain) Write(b []byte) (int, error) {
	p.dialer.transcript.sent(b)
	n, err := p.Conn.Write(b)
	if err != nil {
		err = p.alert(err)
	}
	return n, err
}

// alert prefers what the server said to how the connection broke: with TLS 1.3 a
// server that refuses our certificate says so after the handshake, and hangs up
// while we already speak.
func (p *plain) alert(err error) error {
	_, said := p.Conn.Read(make([]byte, 1))
	if op := (*net.OpError)(nil); errors.As(said, &op) && op.Op == "remote error" {
		return said
	}
	return err
}
