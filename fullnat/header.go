package fullnat

import (
	"encoding/binary"
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// maxHeader is longer than any header: v1 has at most 107 bytes, v2 here 52.
const maxHeader = 108

// v2Signature begins a header of version 2 (proxy-protocol.txt, section 2.2).
const v2Signature = "\r\n\r\n\x00\r\nQUIT\n"

// AppendProxyHeader appends the PROXY header that tells of a client's
// connection to a virtual address, both of one family. Version 1 knows TCP
// only.
func AppendProxyHeader(b []byte, v ProxyProtocol, p ipvs.Protocol, client, virtual netip.AddrPort) []byte {
	switch v {
	case ProxyV1:
		return appendV1(b, client, virtual)
	case ProxyV2, ProxyV2Every:
		return appendV2(b, p, client, virtual)
	}
	return b
}

func appendV1(b []byte, client, virtual netip.AddrPort) []byte {
	if client.Addr().Is4() {
		b = append(b, "PROXY TCP4 "...)
	} else {
		b = append(b, "PROXY TCP6 "...)
	}
	b = client.Addr().WithZone("").AppendTo(b)
	b = append(b, ' ')
	b = virtual.Addr().WithZone("").AppendTo(b)
	b = appendPort(append(b, ' '), client.Port())
	b = appendPort(append(b, ' '), virtual.Port())
	return append(b, "\r\n"...)
}

func appendPort(b []byte, p uint16) []byte {
	var digits [5]byte
	i := len(digits)
	for {
		i--
		digits[i] = '0' + byte(p%10)
		if p /= 10; p == 0 {
			return append(b, digits[i:]...)
		}
	}
}

func appendV2(b []byte, p ipvs.Protocol, client, virtual netip.AddrPort) []byte {
	kind := byte(1) // stream
	if p == ipvs.UDP {
		kind = 2 // datagram
	}
	b = append(b, v2Signature...)
	b = append(b, 0x21) // version 2, on behalf of a client
	if client.Addr().Is4() {
		c, v := client.Addr().As4(), virtual.Addr().As4()
		b = append(b, 0x10|kind, 0, 12)
		b = append(append(b, c[:]...), v[:]...)
	} else {
		c, v := client.Addr().As16(), virtual.Addr().As16()
		b = append(b, 0x20|kind, 0, 36)
		b = append(append(b, c[:]...), v[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, client.Port())
	return binary.BigEndian.AppendUint16(b, virtual.Port())
}

// introduce sends the header, at once: a server may wait for it before it
// speaks. What the client has sent already goes along in the same segment.
func (l *loop) introduce(c *conn, v ProxyProtocol) {
	l.sendHeader(c, len(AppendProxyHeader(l.scratch[:0], v, ipvs.TCP, c.client.unscoped(), c.at.addr)))
}

// sendHeader sends what is in the first bytes of scratch.
func (l *loop) sendHeader(c *conn, head int) {
	s, k := &c.half[origin], &c.half[client]
	n, e := sysRecv(k.fd, l.scratch[head:])
	switch {
	case e == unix.EAGAIN || e == noErr && n == 0: // an end is read again later
		n = 0
	case e != noErr:
		l.abort(c)
		return
	}
	if n > 0 {
		l.count(c, client, n)
	}
	s.set(wrote)
	w, e := sysSend(s.fd, l.scratch[:head+n], 0)
	switch {
	case e == unix.EAGAIN:
		w = 0
	case e != noErr:
		l.writeFailed(c, client)
		return
	}
	if w < head+n {
		l.keep(k, w, head+n)
		l.block(c, origin)
	}
}
