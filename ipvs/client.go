package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// Client speaks to the kernel's IPVS in one network namespace. [Dial] makes
// one. It is safe for concurrent use; requests are made one after the other,
// as the kernel makes them anyhow. Two clients do not disturb each other, but
// see [Read] for what a listing is worth while somebody writes.
//
// A Client survives that the module is unloaded and loaded again: while it is
// gone requests end with [ErrNoIPVS].
//
// Every error is an [*OpError], or a [*BatchError] from Apply.
type Client struct {
	timeout time.Duration // of a listing

	mu      sync.Mutex
	sock    transport // nil when closed
	family  uint16
	seq     uint32 // of the last message sent
	enc     wire.Encoder
	in      []byte // received datagrams
	lengths [maxDatagrams]int
	names   interned
	sent    []*pending // by sequence number, the changes of one transmission
	maxOps  int        // changes in one transmission; 0 before the first
	wide    bool       // the receive buffer has been widened
	seen    seen
}

// Close ends the connection; later requests fail with fs.ErrClosed. Closing
// twice is allowed.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sock != nil {
		c.sock.close()
		c.sock = nil
	}
	return nil
}

// target is where a request goes: a netlink family and its command.
type target struct {
	family  uint16
	cmd     uint8
	version uint8
}

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

const (
	// dumpSlot holds the largest datagram of a dump: the kernel makes them of
	// 32 KiB at most (netlink_dump), whatever we offer.
	dumpSlot = 32 << 10
	// replySlot holds an error reply: 36 bytes and the kernel's words, or up to
	// 500 where NETLINK_CAP_ACK is unknown.
	replySlot = 1 << 10
	inSize    = 2 * dumpSlot

	// maxTries is how often one request is made before its failure is believed.
	maxTries = 3
)

// request is the door for everything but changes: it makes one request to IPVS
// and hands the payload of each answer, after its generic netlink header, to
// got. put appends the attributes; it is called again when the request has to
// be made again, and must then forget what got has taken. Reads are repeated
// when answers were lost, and everything when the module was loaded anew.
func (c *Client) request(cmd command, flags uint16, put func(*wire.Encoder), got func([]byte) error) error {
	for try := 1; ; try++ {
		err := c.ask(target{c.family, uint8(cmd), genlVersion}, flags, put, got)
		if err == nil || try == maxTries {
			return err
		}
		switch {
		case isErrno(err, unix.ENOENT): // none of these commands gives it for itself
			if err := c.resolve(); err != nil {
				return err
			}
		case isErrno(err, unix.EBUSY) && flags&unix.NLM_F_DUMP != 0: // a dump before was not read to its end
			c.settle()
		case flags&unix.NLM_F_ACK == 0 && errors.Is(err, ErrLost):
		default:
			return err
		}
	}
}

// ask sends one message and receives what belongs to it: until the end of a
// dump (flag NLM_F_DUMP), an acknowledgement (NLM_F_ACK) or one answer.
func (c *Client) ask(to target, flags uint16, put func(*wire.Encoder), got func([]byte) error) error {
	if c.sock == nil {
		return fs.ErrClosed
	}
	c.seq++
	seq := c.seq
	c.enc.Buf = c.enc.Buf[:0]
	m := c.enc.Message(to.family, unix.NLM_F_REQUEST|flags, seq, to.cmd, to.version)
	if put != nil {
		put(&c.enc)
	}
	c.enc.EndMessage(m)
	if err := c.sock.send(c.enc.Buf); err != nil {
		return err
	}
	one := flags&(unix.NLM_F_DUMP|unix.NLM_F_ACK) == 0
	err := c.receive(seq, 1, dumpSlot, func(m wire.Message) (bool, error) {
		switch m.Type {
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			return true, verdict(m)
		case to.family:
			if got == nil {
				return false, nil
			}
			if len(m.Payload) < wire.GenericLen {
				return true, wire.ErrShort
			}
			return one, got(m.Payload[wire.GenericLen:])
		}
		return false, nil
	})
	if err != nil && flags&unix.NLM_F_DUMP != 0 {
		c.drain() // the rest of the dump, which only goes on while it is read
	}
	return err
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
