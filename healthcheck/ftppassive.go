package healthcheck

import (
	"errors"
	"fmt"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
)

// passive asks for a port to connect to: by EPSV, and where the server does
// not know that by PASV, which must name the server itself.
func (t *talk) passive() (uint16, error) {
	text, err := t.ask("epsv", 229, "EPSV")
	if err == nil {
		port, ok := epsvPort(text)
		if !ok {
			return 0, t.refused("epsv", "no port in: "+text)
		}
		return port, nil
	}
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return 0, err
	}
	if text, err = t.ask("pasv", 227, "PASV"); err != nil {
		return 0, err
	}
	to, ok := pasvAddress(text)
	if !ok {
		return 0, t.refused("pasv", "no address and port in: "+text)
	}
	return to.Port(), t.dialer.itself(to.Addr())
}

// itself refuses an address that is not the server's: neither the one we
// checked nor the VIP, which servers behind a director may announce. Nobody
// can make a check connect elsewhere.
func (d *Dialer) itself(a netip.Addr) error {
	if a == d.Address().Addr().Unmap() || a == d.Target.Virtual.Addr().Unmap() {
		return nil
	}
	return fmt.Errorf("ftp pasv: the server announces %v for data, which is not its address (%v)", a, d.Address().Addr())
}

// epsvPort reads "... (|||port|)" with any delimiter (RFC 2428 section 3).
func epsvPort(text string) (uint16, bool) {
	_, inner, ok := strings.Cut(text, "(")
	inner, _, closed := strings.Cut(inner, ")")
	if !ok || !closed || len(inner) < 5 {
		return 0, false
	}
	fields := strings.Split(inner, inner[:1])
	if len(fields) != 5 {
		return 0, false
	}
	port, err := strconv.ParseUint(fields[3], 10, 16)
	return uint16(port), err == nil && port != 0
}

// pasvAddress reads the first "h1,h2,h3,h4,p1,p2" of an answer. RFC 959 does
// not promise the parentheses around it (RFC 1123 section 4.1.2.6).
func pasvAddress(text string) (netip.AddrPort, bool) {
	start := strings.IndexAny(text, "0123456789")
	if start < 0 {
		return netip.AddrPort{}, false
	}
	var b [6]byte
	fields := strings.Split(text[start:], ",")
	if len(fields) < len(b) {
		return netip.AddrPort{}, false
	}
	for i := range b {
		digits := fields[i]
		if i == len(b)-1 {
			digits = digits[:len(digits)-len(strings.TrimLeft(digits, "0123456789"))]
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 8)
		if err != nil {
			return netip.AddrPort{}, false
		}
		b[i] = byte(n)
	}
	port := uint16(b[4])<<8 | uint16(b[5])
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), port), port != 0
}
