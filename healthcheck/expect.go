package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// expect reads until what came matches, the server ends, or maxAnswer was read.
// With a nil matcher any byte will do.
func expect(ctx context.Context, c net.Conn, m matcher) error {
	var e expectation
	e.matcher = m
	buf := make([]byte, 4<<10)
	for {
		c.SetReadDeadline(time.Now().Add(e.patience()))
		n, err := c.Read(buf[:min(len(buf), maxAnswer-len(e.answer))])
		e.answer = append(e.answer, buf[:n]...)
		if e.met(err != nil) {
			return nil
		}
		switch {
		case err != nil && quiet(ctx, err):
		case errors.Is(err, io.EOF):
			return e.failed("the server closed the connection")
		case err != nil:
			return e.wrap(ctx, err)
		case len(e.answer) >= maxAnswer:
			return e.failed("no match in its first 64 KiB")
		}
	}
}

// quiet tells a pause in what the server sends from the end of the check.
func quiet(ctx context.Context, err error) bool {
	deadline, _ := ctx.Deadline()
	return isTimeout(err) && ctx.Err() == nil && time.Now().Before(deadline)
}

// expectation is an answer that comes in pieces. A server that sends it byte by
// byte must not make us search all of it for each byte.
type expectation struct {
	matcher matcher
	answer  []byte
	tried   int // how much of it was searched
}

const pause = 20 * time.Millisecond

// patience is how long to wait for more: a moment if there is something that
// was not searched.
func (e *expectation) patience() time.Duration {
	if e.tried < len(e.answer) {
		return pause
	}
	return longest
}

// met searches the answer, if it grew enough or came to a pause.
func (e *expectation) met(paused bool) bool {
	if e.matcher == nil {
		return len(e.answer) > 0
	}
	grown := len(e.answer) - e.tried
	if grown == 0 || !paused && len(e.answer) > 1<<10 && grown < len(e.answer)/8 {
		return false
	}
	e.tried = len(e.answer)
	return e.matcher.Match(e.answer)
}

func (e *expectation) failed(why string) error {
	if e.matcher == nil || len(e.answer) == 0 {
		return fmt.Errorf("no answer: %s", why)
	}
	return fmt.Errorf("%w (%s)", unexpected(e.matcher, e.answer), why)
}

// wrap keeps what the error is, and says what came before it.
func (e *expectation) wrap(ctx context.Context, err error) error {
	switch {
	case len(e.answer) == 0:
		return bare(err)
	case isTimeout(err) || ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrTimeout, unexpected(e.matcher, e.answer))
	}
	return fmt.Errorf("%w, after %q", bare(err), head(e.answer, 80))
}
