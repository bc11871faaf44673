package healthcheck

import (
	"fmt"
	"net"
)

// packetConn reads along with the driver, which makes room for whatever length
// a packet's header announces, up to 16 MiB, and refuses what no answer needs.
type packetConn struct {
	net.Conn
	header [4]byte
	seen   int  // bytes of the header
	body   int  // bytes of the packet to come
	sealed bool // TLS has begun: packets are no longer to be seen
}

// Read fails when a packet is announced that is too large.
func (p *packetConn) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if p.sealed {
		return n, err
	}
	for rest := b[:n]; len(rest) > 0; {
		if p.body > 0 {
			skip := min(p.body, len(rest))
			p.body -= skip
			rest = rest[skip:]
			continue
		}
		copied := copy(p.header[p.seen:], rest)
		p.seen += copied
		rest = rest[copied:]
		if p.seen < len(p.header) {
			break
		}
		p.seen = 0
		p.body = int(p.header[0]) | int(p.header[1])<<8 | int(p.header[2])<<16
		if p.body > maxBytes {
			return 0, fmt.Errorf("a packet of %d bytes: %w", p.body, ErrFlood)
		}
	}
	return n, err
}

// Write notices the first record of TLS, which no packet of ours looks like.
func (p *packetConn) Write(b []byte) (int, error) {
	if !p.sealed && len(b) > 2 && b[0] == 0x16 && b[1] == 3 {
		p.sealed = true
		if g, ok := p.Conn.(*conn); ok {
			g.silent.Store(true)
		}
	}
	return p.Conn.Write(b)
}
