package healthcheck

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// ErrFlood is the reason when a server sends more than any answer needs.
var ErrFlood = errors.New("the server sent more than a check may read")

// budget counts the bytes that a check may still read and send.
type budget struct{ read, sent atomic.Int64 }

// conn is a connection of a check. Its deadline is the check's whatever a
// library sets, what it carries is counted and written down.
type conn struct {
	net.Conn
	dialer   *Dialer
	deadline time.Time
	stop     func() bool // ends the watch on the context
	silent   atomic.Bool // the bytes are TLS's, not for people
}

// Read reads what the server sent, up to what is left of the check's budget.
func (c *conn) Read(p []byte) (int, error) {
	left := c.dialer.budget.read.Load()
	if left <= 0 {
		c.broke(ErrFlood)
		return 0, ErrFlood
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.dialer.budget.read.Add(int64(-n))
	if !errors.Is(err, io.EOF) {
		c.broke(err)
	}
	if !c.silent.Load() {
		c.dialer.transcript.received(p[:n])
		c.end(err)
	}
	return n, err
}

// end writes down how the other side ended.
func (c *conn) end(err error) {
	switch {
	case errors.Is(err, io.EOF):
		c.dialer.Note("the server closed the connection")
	case err != nil && !errors.Is(err, net.ErrClosed):
		c.dialer.Note("read: %v", bare(err))
	}
}

// Write sends to the server.
func (c *conn) Write(p []byte) (int, error) {
	if c.dialer.budget.sent.Add(int64(-len(p))) < 0 { // a library that goes round in circles
		return 0, ErrFlood
	}
	if !c.silent.Load() {
		c.dialer.transcript.sent(p)
	}
	n, err := c.Conn.Write(p)
	c.broke(err)
	return n, err
}

// Close closes the connection; closing twice is no error.
func (c *conn) Close() error {
	c.stop()
	if err := c.Conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// CloseWrite ends our side of the conversation, where the transport can.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// reset makes Close end the connection with a reset, so that no port stays in
// TIME-WAIT.
func (c *conn) reset() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
}

// SetDeadline and its sisters can bring the end of the check nearer, never put
// it off.
func (c *conn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(c.sooner(t)) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(c.sooner(t)) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.sooner(t)) }

func (c *conn) sooner(t time.Time) time.Time {
	if t.IsZero() || t.After(c.deadline) {
		return c.deadline
	}
	return t
}
