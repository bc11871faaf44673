package healthcheck

import (
	"fmt"
	"net"
)

// packets reads along with the driver, which makes room for whatever length a
// packet's header announces, up to 16 MiB, and refuses what no answer needs.
type packets struct {
	header [4]byte
	seen   int // bytes of the header
	body   int // bytes of the packet to come
}

// see fails when a packet is announced that is too large.
func (p *packets) see(b []byte) error {
	for len(b) > 0 {
		if p.body > 0 {
			skip := min(p.body, len(b))
			p.body -= skip
			b = b[skip:]
			continue
		}
		copied := copy(p.header[p.seen:], b)
		p.seen += copied
		b = b[copied:]
		if p.seen < len(p.header) {
			break
		}
		p.seen = 0
		p.body = int(p.header[0]) | int(p.header[1])<<8 | int(p.header[2])<<16
		if p.body > maxBytes {
			return fmt.Errorf("a packet of %d bytes: %w", p.body, ErrFlood)
		}
	}
	return nil
}

// packetConn is what the driver has for a connection.
type packetConn struct {
	net.Conn
	packets packets
	secure  func(net.Conn) (net.Conn, error) // begins TLS with the server
	tls     *packetTLS                       // nil: TLS has not begun
}

// Read fails when a packet is announced that is too large.
func (p *packetConn) Read(b []byte) (int, error) {
	if p.tls != nil {
		return p.tls.Read(b)
	}
	n, err := p.Conn.Read(b)
	if flood := p.packets.see(b[:n]); flood != nil {
		return 0, flood
	}
	return n, err
}

// Write notices the first record of TLS, which no packet of ours looks like.
func (p *packetConn) Write(b []byte) (int, error) {
	if p.tls == nil && len(b) > 2 && b[0] == 0x16 && b[1] == 3 {
		server, err := p.secure(p.Conn)
		if err != nil {
			return 0, err
		}
		if p.tls, err = newPacketTLS(server, &p.packets); err != nil {
			return 0, err
		}
	}
	if p.tls != nil {
		return p.tls.Write(b)
	}
	return p.Conn.Write(b)
}

// end closes the connection and waits until nothing of it is left.
func (p *packetConn) end() {
	if p.Conn != nil {
		_ = p.Conn.Close()
	}
	if p.tls != nil {
		p.tls.all.Wait()
	}
}
