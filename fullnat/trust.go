package fullnat

import (
	"errors"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// trusts tells whether a client is a proxy whose PROXY header is believed.
func (s *settings) trusts(from *sockaddr) bool {
	if len(s.trusted) == 0 {
		return false
	}
	a := from.unscoped().Addr()
	for _, p := range s.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// awaitHeader has nothing pass from a trusted peer before its header is there,
// or is known to be missing.
func (l *loop) awaitHeader(c *conn, set *settings) {
	c.half[client].set(heralded)
	c.due = l.sec + set.connect + 1
	l.wheel.arm(&l.conns, c.index, c.due)
	l.herald(c)
}

// herald looks at a peer's first bytes, without taking them, and when it knows
// what they are lets the connection go on.
func (l *loop) herald(c *conn) {
	k := &c.half[client]
	n, e := sysPeek(k.fd, l.scratch[:])
	if e == unix.EAGAIN {
		return
	}
	if e != noErr {
		l.abort(c)
		return
	}
	head, err := ParseProxyHeader(l.scratch[:n])
	switch {
	case errors.Is(err, ErrShortHeader) && n > 0 && !k.is(finished) && n < len(l.scratch):
		return // the rest is another event
	case errors.Is(err, ErrNoHeader) || errors.Is(err, ErrShortHeader) && k.is(finished) || n == 0:
		l.heraldMissing(c)
		return
	case err != nil:
		l.abort(c)
		return
	}
	if n, e = sysRecv(k.fd, l.scratch[:head.Length]); e != noErr || n != head.Length {
		l.abort(c)
		return
	}
	l.count(c, client, n)
	k.clear(heralded)
	if v := c.svc.settings.Load().proxy; v != head.Version && v != NoProxy {
		n = len(head.AppendAs(l.scratch[:0], v))
	}
	l.goOn(c, n)
}

// heraldMissing sends the ordinary header for a peer that has sent none.
func (l *loop) heraldMissing(c *conn) {
	c.half[client].clear(heralded)
	l.goOn(c, len(AppendProxyHeader(l.scratch[:0], c.svc.settings.Load().proxy, ipvs.TCP, c.client.unscoped(), c.at.addr)))
}

// goOn sends the header and lets the connection be as any other one.
func (l *loop) goOn(c *conn, head int) {
	gen := c.gen
	c.last = l.sec
	if l.sendHeader(c, head); c.gen != gen || c.half[client].is(dying) {
		return
	}
	l.wheel.arm(&l.conns, c.index, l.deadline(c))
	l.pump(c, client) // its events came while the header was awaited
}

// introduced tells whether a datagram begins with a header already.
func introduced(data []byte) bool {
	h, err := ParseProxyHeader(data)
	return err == nil && h.Version == ProxyV2
}
