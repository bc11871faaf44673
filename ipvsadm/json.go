package ipvsadm

import (
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// jsonText appends one JSON document, field after field. It is not encoding/json
// because a listing streams: no row is ever a value in memory.
type jsonText struct {
	b []byte
	// first is set after an opening bracket: the next element needs no comma.
	first bool
	// oneLine is a document of the control socket, where lines end answers.
	oneLine bool
}

// open begins an object or array, '{' or '[', as the next element.
func (j *jsonText) open(c byte) { j.comma(); j.b = append(j.b, c); j.first = true }

// close ends it: '}' or ']'.
func (j *jsonText) close(c byte) { j.b = append(j.b, c); j.first = false }

// line breaks the line before the next element, so that a document can be read
// and compared line by line.
func (j *jsonText) line() {
	if !j.oneLine {
		j.comma()
		j.b, j.first = append(j.b, '\n'), true
	}
}

func (j *jsonText) comma() {
	if !j.first {
		j.b = append(j.b, ',')
	}
	j.first = false
}

// key begins a field; its value follows. Keys are ours and need no escapes.
func (j *jsonText) key(k string) {
	j.comma()
	j.b = append(append(append(j.b, '"'), k...), '"', ':')
	j.first = true
}

func (j *jsonText) field(k string, c byte) { j.key(k); j.open(c) }
func (j *jsonText) uint(k string, v uint64) {
	j.key(k)
	j.b, j.first = strconv.AppendUint(j.b, v, 10), false
}
func (j *jsonText) int(k string, v int64) {
	j.key(k)
	j.b, j.first = strconv.AppendInt(j.b, v, 10), false
}
func (j *jsonText) str(k, v string) { j.key(k); j.element(v) }

// element appends a string of an array.
func (j *jsonText) element(v string) { j.comma(); j.b = appendQuoted(j.b, v) }

// addr appends an address; the zero Addr is "".
func (j *jsonText) addr(k string, a netip.Addr) {
	j.key(k)
	j.b, j.first = append(j.b, '"'), false
	if a.IsValid() {
		j.b = appendAddr(j.b, a)
	}
	j.b = append(j.b, '"')
}

// appendQuoted appends a JSON string. Bytes that are no UTF-8 become U+FFFD:
// what the kernel hands through from packets may be anything.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < ' ' || c == 0x7f:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		b = utf8.AppendRune(b, r) // RuneError is U+FFFD
		i += size
	}
	return append(b, '"')
}
