package procfs

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// fieldReader takes a row apart, blank by blank. After the first field that is
// missing or malformed ok is false for good.
type fieldReader struct {
	row []byte
	ok  bool
}

// optional returns the next field, if there is one.
func (f *fieldReader) optional() (field []byte, more bool) {
	i := 0
	for i < len(f.row) && f.row[i] == ' ' {
		i++
	}
	start := i
	for i < len(f.row) && f.row[i] != ' ' {
		i++
	}
	field, f.row = f.row[start:i], f.row[i:]
	return field, len(field) > 0
}

func (f *fieldReader) next() []byte {
	field, more := f.optional()
	f.ok = f.ok && more
	return field
}

// rest is everything after the blank that follows the last field.
func (f *fieldReader) rest() []byte {
	if len(f.row) > 0 {
		return f.row[1:]
	}
	return nil
}

func (f *fieldReader) protocol() ipvs.Protocol {
	p, ok := parseProtocol(f.next())
	f.ok = f.ok && ok
	return p
}

// endpoint reads an address and a port, both in hexadecimal.
func (f *fieldReader) endpoint() netip.AddrPort {
	addr, ok := parseAddr(f.next())
	port := f.next()
	n, good := parseHex(port)
	f.ok = f.ok && ok && good && len(port) == 4
	return netip.AddrPortFrom(addr, uint16(n))
}

// hex reads a hexadecimal number of up to 64 bits.
func (f *fieldReader) hex() uint64 {
	n, ok := parseHex(f.next())
	f.ok = f.ok && ok
	return n
}

// seconds reads a decimal number of seconds.
func (f *fieldReader) seconds() time.Duration {
	var n uint64
	b := f.next()
	for _, c := range b {
		if c < '0' || c > '9' || len(b) > 20 {
			f.ok = false
			return 0
		}
		if n < expired {
			n = n*10 + uint64(c-'0')
		}
	}
	return clampSeconds(n)
}

// parseAddr reads %08X of an IPv4 address, or %pI6: eight groups of four
// hexadecimal digits.
func parseAddr(b []byte) (netip.Addr, bool) {
	if len(b) == 8 {
		n, ok := parseHex(b)
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), ok
	}
	const groups, width = 8, 5
	if len(b) != groups*width-1 {
		return netip.Addr{}, false
	}
	var a [16]byte
	for i := range groups {
		n, ok := parseHex(b[i*width : i*width+4])
		if !ok || i < groups-1 && b[i*width+4] != ':' {
			return netip.Addr{}, false
		}
		a[2*i], a[2*i+1] = byte(n>>8), byte(n)
	}
	return netip.AddrFrom16(a), true
}

func parseHex(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | uint64(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | uint64(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, len(b) > 0 && len(b) <= 16
}
