package ipvs

import (
	"errors"
	"io/fs"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

const (
	// batchOps and batchBytes bound one transmission. The kernel answers a
	// failed change with a reply that takes about 1 KiB of the receive buffer
	// (struct sk_buff and all), and drops replies when that is full: so the
	// changes of a transmission must be fewer than the replies that fit.
	batchOps     = 1000
	batchBytes   = 128 << 10
	replyCost    = 2 << 10
	firstOps     = 64 // fits any receive buffer
	receiveBytes = 2 << 20
)

// apply makes the changes and notes at each why it was not made. at is how many
// it got through; stop is why it did not get through all.
func (c *Client) apply(batch []pending) (at int, stop error) {
	for i := range batch {
		batch[i].err = batch[i].ch.check()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sock == nil {
		return 0, fs.ErrClosed
	}
	for at < len(batch) {
		c.makeRoom(len(batch))
		n := c.encode(batch[at:])
		if err := c.transmit(); err != nil {
			if errors.Is(err, unix.EMSGSIZE) && c.maxOps > 1 { // a small send buffer
				c.maxOps /= 2
				continue
			}
			return at, err
		}
		for i := range batch[at : at+n] {
			p := &batch[at+i]
			p.err = because(p.err, opCommand(p.ch.Op), &p.ch)
			if errors.Is(p.err, ErrPermission) {
				return at + i, p.err // so will be all that follow
			}
		}
		at += n
	}
	return at, nil
}

func opCommand(o Op) command {
	if int(o) < len(opCommands) {
		return opCommands[o]
	}
	return 0
}

// makeRoom sets how many changes one transmission holds. The receive buffer is
// widened only for those who need it: a single change should not pay for it.
func (c *Client) makeRoom(n int) {
	if c.maxOps == 0 {
		c.maxOps = firstOps
	}
	if n > c.maxOps && !c.wide {
		c.wide = true
		c.maxOps = max(firstOps, min(batchOps, c.sock.widen(receiveBytes)/replyCost))
	}
}

// encode puts as many changes as one transmission holds into the send buffer
// and returns how many it went through, without those that are wrong already.
func (c *Client) encode(batch []pending) (n int) {
	c.sent = c.sent[:0]
	c.enc.Buf = c.enc.Buf[:0]
	var last wire.Mark
	for n < len(batch) && len(c.sent) < c.maxOps && len(c.enc.Buf) < batchBytes {
		p := &batch[n]
		n++
		if p.err != nil {
			continue
		}
		c.sent = append(c.sent, p)
		c.seq++
		last = c.enc.Message(c.family, unix.NLM_F_REQUEST, c.seq, uint8(opCommands[p.ch.Op]), genlVersion)
		putChange(&c.enc, &p.ch)
		c.enc.EndMessage(last)
	}
	if len(c.sent) > 0 {
		// Only failures are answered, and the last: its answer is the barrier
		// that says there are no more.
		c.enc.AddFlags(last, unix.NLM_F_ACK)
	}
	return n
}

// transmit sends what encode has put together and notes the refusals. When the
// module was loaded anew in between, all of it is sent again: what the old one
// had taken went with it.
func (c *Client) transmit() error {
	defer func() { clear(c.sent) }() // they are the caller's
	for try := 1; len(c.sent) > 0; try++ {
		if err := c.exchange(); err != nil {
			return err
		}
		if !isErrno(c.sent[len(c.sent)-1].err, unix.ENOENT) {
			return nil
		}
		family := c.family
		if err := c.resolveKeeping(); err != nil {
			return err
		}
		if c.family == family || try == maxTries { // no, something else is missing
			return nil
		}
		wire.Retarget(c.enc.Buf, c.family, c.seq+1)
		c.seq += uint32(len(c.sent))
		for _, p := range c.sent {
			p.err = nil
		}
	}
	return nil
}

// resolveKeeping resolves the family without losing the encoded changes.
func (c *Client) resolveKeeping() error {
	buf := c.enc.Buf
	c.enc.Buf = nil
	err := c.resolve()
	c.enc.Buf = buf
	return err
}

// exchange sends the changes and receives their answers.
func (c *Client) exchange() error {
	if err := c.sock.send(c.enc.Buf); err != nil {
		return err
	}
	n := uint32(len(c.sent))
	first := c.seq - n + 1
	err := c.receive(first, n, replySlot, func(m wire.Message) (bool, error) {
		if m.Type != unix.NLMSG_ERROR {
			return false, nil
		}
		err := verdict(m)
		if r, ok := err.(*refusal); ok {
			c.sent[m.Seq-first].err = r
			err = nil
		}
		return m.Seq == c.seq, err
	})
	if err != nil { // every change that was not refused may have been made, or not
		for _, p := range c.sent {
			p.err = orElse(p.err, err)
		}
	}
	return nil
}
