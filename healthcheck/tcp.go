package healthcheck

import (
	"context"
	"net"
)

// tcp sends the request, if there is one, and reads until the answer matches.
// Without a request and without something to receive a connection is enough,
// with TLS its handshake. (ldirectord's simpletcp closes its half of the
// connection after the request, which some servers take for the end.)
func tcp(c Check) (look, error) {
	send, err := payload(c.Request)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	if err != nil {
		return nil, err
	}
	dial, err := stream(c, "off", "on")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d *Dialer) error {
		conn, err := dial(ctx, d)
		if err != nil {
			return err
		}
		if len(send) == 0 && m == nil {
			return conn.Close()
		}
		if _, err := conn.Write(send); len(send) > 0 && err != nil {
			return bare(err)
		}
		return expect(ctx, conn, m)
	}, nil
}

// stream returns how a check connects that speaks TLS from the start ("on") or
// not at all ("off"); the type can do these, the first unless the check says.
func stream(c Check, can ...string) (func(context.Context, *Dialer) (net.Conn, error), error) {
	mode, err := c.tlsMode(can...)
	if err != nil {
		return nil, err
	}
	if mode == "off" {
		return func(ctx context.Context, d *Dialer) (net.Conn, error) { return d.Dial(ctx, "tcp") }, nil
	}
	config, err := tlsConfig(c)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d *Dialer) (net.Conn, error) {
		conn, err := d.Dial(ctx, "tcp")
		if err != nil {
			return nil, err
		}
		return d.StartTLS(ctx, conn, config)
	}, nil
}
