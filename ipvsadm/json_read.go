package ipvsadm

import (
	"errors"
	"math/bits"
	"net/netip"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads one JSON document from left to right. It is not
// encoding/json because a one-shot command would pay for that with its start
// (docs/performance.md), and it reads only what goipvsd answers. The first thing
// that is not as it should be is kept in err, and everything after is empty.
type jsonReader struct {
	b     []byte
	at    int
	depth int
	err   error
}

var errJSON = errors.New("malformed answer of goipvsd")

// maxDepth bounds what skip follows.
const maxDepth = 32

func (j *jsonReader) fail() {
	if j.err == nil {
		j.err = errJSON
	}
	j.at = len(j.b)
}

// peek is the next byte that is no blank; 0 at the end.
func (j *jsonReader) peek() byte {
	for ; j.at < len(j.b); j.at++ {
		switch c := j.b[j.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (j *jsonReader) take(c byte) {
	if j.peek() != c {
		j.fail()
		return
	}
	j.at++
}

// object calls f with the name of each field; f reads the value.
func (j *jsonReader) object(f func(name string)) {
	j.list('{', '}', func() {
		name := j.string()
		j.take(':')
		f(name)
	})
}

// array calls f for each element, which f reads.
func (j *jsonReader) array(f func()) { j.list('[', ']', f) }

func (j *jsonReader) list(begin, end byte, f func()) {
	if j.depth++; j.depth > maxDepth {
		j.fail()
	}
	defer func() { j.depth-- }()
	j.take(begin)
	if j.err == nil && j.peek() == end {
		j.at++
		return
	}
	for j.err == nil {
		f()
		if j.err == nil && j.peek() == end {
			j.at++
			return
		}
		j.take(',')
	}
}

// string reads a string; surrogates without their other half are U+FFFD.
func (j *jsonReader) string() string {
	j.take('"')
	start := j.at
	for ; j.at < len(j.b); j.at++ {
		switch c := j.b[j.at]; {
		case c == '"':
			j.at++
			return string(j.b[start : j.at-1])
		case c == '\\':
			return j.escaped(append([]byte(nil), j.b[start:j.at]...))
		case c < ' ':
			j.fail()
			return ""
		}
	}
	j.fail()
	return ""
}

func (j *jsonReader) escaped(out []byte) string {
	for j.at < len(j.b) {
		c := j.b[j.at]
		j.at++
		switch {
		case c == '"':
			return string(out)
		case c < ' ':
			j.fail()
		case c != '\\':
			out = append(out, c)
		default:
			out = j.escape(out)
		}
	}
	j.fail()
	return ""
}

func (j *jsonReader) escape(out []byte) []byte {
	if j.at == len(j.b) {
		j.fail()
		return out
	}
	c := j.b[j.at]
	j.at++
	switch c {
	case '"', '\\', '/':
		return append(out, c)
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case 'n':
		return append(out, '\n')
	case 'r':
		return append(out, '\r')
	case 't':
		return append(out, '\t')
	case 'u':
		r := j.hex()
		if utf16.IsSurrogate(r) && j.at+1 < len(j.b) && j.b[j.at] == '\\' && j.b[j.at+1] == 'u' {
			back := j.at
			j.at += 2
			both := utf16.DecodeRune(r, j.hex())
			if both == utf8.RuneError {
				j.at = back
			}
			r = both
		}
		return utf8.AppendRune(out, r)
	}
	j.fail()
	return out
}

func (j *jsonReader) hex() rune {
	if j.at+4 > len(j.b) {
		j.fail()
		return 0
	}
	n, err := strconv.ParseUint(string(j.b[j.at:j.at+4]), 16, 16)
	if err != nil {
		j.fail()
		return 0
	}
	j.at += 4
	return rune(n)
}

// word reads what is neither string, object nor array.
func (j *jsonReader) word() string {
	j.peek()
	start := j.at
	for j.at < len(j.b) && (j.b[j.at] == '-' || j.b[j.at] == '+' || j.b[j.at] == '.' || j.b[j.at]|0x20 >= 'a' && j.b[j.at]|0x20 <= 'z' || j.b[j.at] >= '0' && j.b[j.at] <= '9') {
		j.at++
	}
	if j.at == start {
		j.fail()
	}
	return string(j.b[start:j.at])
}

// number reads a whole number into a variable, if it fits there.
func number64[T ~uint8 | ~uint16 | ~uint32 | ~uint64](j *jsonReader, to *T) {
	size := bits.Len64(uint64(^T(0)))
	n, err := strconv.ParseUint(j.word(), 10, size)
	if err != nil {
		j.fail()
	}
	*to = T(n)
}

func (j *jsonReader) int32(to *int32) {
	n, err := strconv.ParseInt(j.word(), 10, 32)
	if err != nil {
		j.fail()
	}
	*to = int32(n)
}

func (j *jsonReader) bool() bool {
	switch j.word() {
	case "true":
		return true
	case "false":
	default:
		j.fail()
	}
	return false
}

// addr reads an address; "" is none.
func (j *jsonReader) addr() (a netip.Addr) {
	s := j.string()
	if s == "" || j.err != nil {
		return a
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		j.fail()
	}
	return a
}

// skip passes over a value: who reads does not know it.
func (j *jsonReader) skip() { j.raw() }

// raw is a value as it stands there.
func (j *jsonReader) raw() []byte {
	first := j.peek()
	start := j.at
	switch first {
	case '{':
		j.object(func(string) { j.skip() })
	case '[':
		j.array(j.skip)
	case '"':
		j.string()
	default:
		j.word()
	}
	return j.b[min(start, len(j.b)):j.at]
}

// end makes sure that there is nothing more.
func (j *jsonReader) end() error {
	if j.err == nil && j.peek() != 0 {
		j.fail()
	}
	return j.err
}
