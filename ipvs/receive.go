package ipvs

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// errNoAnswer: yes, where something was asked for.
var errNoAnswer = errors.New("an acknowledgement without an answer")

// refusal is an errno in an answer, with the kernel's own words if it had any.
type refusal struct {
	errno syscall.Errno
	text  string
}

func (r *refusal) Error() string { return r.errno.Error() }

func isErrno(err error, n syscall.Errno) bool {
	r, ok := err.(*refusal)
	return ok && r.errno == n
}

// verdict is what an error reply or the end of a dump says: nil, a *refusal,
// or that it cannot be read.
func verdict(m wire.Message) error {
	if m.Type == unix.NLMSG_DONE && len(m.Payload) == 0 {
		return nil
	}
	errno, err := wire.Errno(m.Payload)
	switch {
	case err != nil:
		return err
	case errno == 0:
		return nil
	}
	return &refusal{errno, wire.ErrorText(m)}
}

// receive hands the messages numbered first to first+n-1 to handle until it
// says that was all; others are left-overs of requests that failed, and are
// dropped. The kernel has answered when the request is sent, so that no answer
// there means that none will come: it was lost, or never made.
func (c *Client) receive(first, n uint32, slot int, handle func(wire.Message) (bool, error)) error {
	if c.in == nil {
		c.in = make([]byte, inSize)
	}
	var (
		lost bool
		end  time.Time // a listing must have one, whatever is added meanwhile
	)
	for {
		k, err := c.sock.recv(c.in, slot, c.lengths[:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOBUFS && !lost: // said before what was queued earlier
			lost = true
			continue
		case err == unix.ENOBUFS || err == unix.EAGAIN:
			return ErrLost
		case err != nil:
			return err
		}
		done, err := c.unpack(k, slot, first, n, handle)
		switch {
		case err != nil:
			return err
		case done && lost:
			return ErrLost
		case done:
			return nil
		case n > 1: // a batch, which has no more answers than messages
		case end.IsZero():
			end = time.Now().Add(c.timeout)
		case time.Now().After(end):
			return ErrTimeout
		}
	}
}

// unpack hands the messages in k datagrams to handle. The error is a *refusal
// or [ErrReply].
func (c *Client) unpack(k, slot int, first, n uint32, handle func(wire.Message) (bool, error)) (done bool, bad error) {
	for i, size := range c.lengths[:k] {
		it := wire.NewMessages(c.in[i*slot:][:min(size, slot)])
		for it.Next() {
			if it.Message().Seq-first >= n {
				continue
			}
			end, err := handle(it.Message())
			done, bad = done || end, orElse(bad, err)
		}
		bad = orElse(bad, it.Err())
		if size > slot {
			bad = orElse(bad, wire.ErrShort)
		}
	}
	if _, ok := bad.(*refusal); ok || bad == nil {
		return done, bad
	}
	return done, fmt.Errorf("%w: %v", ErrReply, bad)
}

func orElse(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// drain reads what is queued, so that a dump that was given up comes to its
// end and no left-over fills the receive buffer.
func (c *Client) drain() {
	for end := time.Now().Add(c.timeout); time.Now().Before(end); {
		if _, err := c.sock.recv(c.in, dumpSlot, c.lengths[:]); err == unix.EAGAIN {
			return
		}
	}
}

// settle lets a dump go on that stopped because the kernel had no memory for
// its next part: it does so when anything is read, so have something to read,
// the acknowledgement of a message that does nothing.
func (c *Client) settle() {
	_ = c.ask(target{family: unix.NLMSG_NOOP}, unix.NLM_F_ACK, nil, nil)
	c.drain()
}
