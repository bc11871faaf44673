package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// maxReason is how long the words of a reason may be.
const maxReason = 300

// reason is an error in words that are short and safe to show: what a server
// sent may be in them.
type reason struct {
	text string
	err  error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.err }

// explain gives the error of a protocol the words and the type that say what
// happened, also where a library has told it as text only.
func (d *Dialer) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if err = d.away(d.cause(ctx, err)); Judge(err) == Unknown {
		return err // our own words, and perhaps a stack
	}
	return &reason{clean(head([]byte(d.transcript.hide(err.Error())), maxReason)), err}
}

func (d *Dialer) cause(ctx context.Context, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case errors.Is(err, ErrTimeout), Judge(err) == Unknown && !errors.Is(err, context.Canceled):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return ours(fmt.Errorf("check abandoned: %w", ctx.Err()))
	case ctx.Err() != nil, isTimeout(err), d.broken != nil && isTimeout(d.broken):
		d.transcript.note("timed out %s", d.stage)
		return fmt.Errorf("%w %s", ErrTimeout, d.stage)
	case d.broken != nil && Class(err) == "answer":
		return fmt.Errorf("%w (%v)", d.broken, err)
	}
	return err
}

// broke remembers how a connection broke. That we closed it or looked only for
// a moment is not it.
func (c *conn) broke(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(c.deadline) {
		return
	}
	c.dialer.mu.Lock()
	defer c.dialer.mu.Unlock()
	if c.dialer.broken == nil {
		c.dialer.broken = bare(err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
