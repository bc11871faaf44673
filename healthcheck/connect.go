package healthcheck

import "context"

// connect only opens a TCP connection, or an association of SCTP. It is ended
// with a reset, so that ten thousand servers checked every second leave no ports
// in TIME-WAIT.
func connect(c Check) (look, error) {
	p, err := transport(c, "tcp", "sctp")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d *Dialer) error {
		if p == "sctp" {
			return d.dialSCTP(ctx)
		}
		c, err := d.Dial(ctx, "tcp")
		if err != nil {
			return err
		}
		if g, ok := c.(*conn); ok {
			g.reset()
		}
		return c.Close()
	}, nil
}
