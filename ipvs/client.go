package ipvs

import (
	"errors"
	"io/fs"
	"sync"
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
	hashes  []uint64   // see unique
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
			if err := verdict(m); err != nil || !one {
				return true, err
			}
			return true, errNoAnswer
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
