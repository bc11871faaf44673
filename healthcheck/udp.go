package healthcheck

import (
	"context"
	"fmt"
	"net"
	"time"
)

// silence is how long a UDP server may say that it does not listen, when
// nothing is expected from it: as long as an ICMP message may take.
const silence = time.Second

// udp sends one datagram. With something to receive an answer must match; any
// others are passed over until the deadline. With nothing to receive a server
// is up when it answers, and when it is silent for a second, or half of the
// time there is, and no ICMP error came: keepalived's UDP_CHECK does so too.
func udp(c Check) (look, error) {
	send, err := payload(c.Request)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d *Dialer) error {
		conn, err := d.Dial(ctx, "udp")
		if err != nil {
			return err
		}
		if _, err := conn.Write(send); err != nil {
			return bare(err)
		}
		if m == nil {
			return heard(ctx, conn)
		}
		return answered(ctx, conn, m)
	}, nil
}

// heard waits for anything, or for nothing.
func heard(ctx context.Context, c net.Conn) error {
	end, _ := ctx.Deadline()
	c.SetReadDeadline(time.Now().Add(min(silence, time.Until(end)/2)))
	_, err := c.Read(make([]byte, 4<<10))
	if err != nil && quiet(ctx, err) {
		return nil
	}
	return bare(err)
}

// answered waits for a datagram that matches.
func answered(ctx context.Context, c net.Conn, m matcher) error {
	buf := make([]byte, maxAnswer)
	var other error
	for {
		n, err := c.Read(buf)
		switch {
		case err != nil && other != nil && (isTimeout(err) || ctx.Err() != nil):
			return fmt.Errorf("%w: %w", ErrTimeout, other)
		case err != nil:
			return bare(err)
		case m.Match(buf[:n]):
			return nil
		}
		other = unexpected(m, buf[:n])
	}
}
