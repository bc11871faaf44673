package config

import (
	"fmt"
	"strconv"
	"strings"
)

// The TOML library says nothing of where keys stand, so lines finds that out
// from the text. It follows TOML's grammar only as far as it must; of text that
// the library refuses it may find anything, or nothing.

const (
	maxDepth = 32       // of arrays, inline tables and dotted keys
	maxLine  = 64 << 10 // bytes
)

// lines maps the path of every key and array element to its line, 1 the first.
// It refuses what nests deeper than any configuration does: the library
// recurses.
func lines(src string) (map[string]int, *Problem) {
	s := &scanner{src: src, line: 1, at: make(map[string]int, strings.Count(src, "\n")), count: map[string]int{}}
	for s.pos < len(s.src) && s.deep == 0 {
		s.statement()
	}
	if s.deep != 0 {
		return nil, &Problem{Line: s.deep, Text: fmt.Sprintf("nested more than %d deep", maxDepth)}
	}
	return s.at, nil
}

// join makes a path; keys may hold dots, but no zero bytes.
func join(path string, key string) string {
	if path == "" {
		return key
	}
	return path + "\x00" + key
}

func element(path string, i int) string { return join(path, strconv.Itoa(i)) }

type scanner struct {
	src   string
	pos   int
	line  int
	table string         // path of the table that keys belong to
	at    map[string]int // lines by path
	count map[string]int // elements of arrays of tables, by path
	deep  int            // line that nests too deep
}

func (s *scanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

func (s *scanner) next() {
	if s.peek() == '\n' {
		s.line++
	}
	s.skip(1)
}

// skip goes on, never beyond the end.
func (s *scanner) skip(n int) { s.pos = min(s.pos+n, len(s.src)) }

func (s *scanner) blank() {
	for c := s.peek(); s.pos < len(s.src) && (c == ' ' || c == '\t' || c == '\r'); c = s.peek() {
		s.skip(1)
	}
}

// space also skips line ends and comments, as between elements of an array.
func (s *scanner) space() {
	for s.pos < len(s.src) {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.next()
		case '#':
			s.rest()
		default:
			return
		}
	}
}

// rest skips to the end of the line.
func (s *scanner) rest() {
	if i := strings.IndexByte(s.src[s.pos:], '\n'); i >= 0 {
		s.pos += i
	} else {
		s.pos = len(s.src)
	}
}

// statement reads a header, or a key and its value, and the line's end.
func (s *scanner) statement() {
	s.space()
	switch {
	case s.pos >= len(s.src):
		return
	case s.peek() == '[':
		s.header()
	default:
		s.pair(s.table, 0)
	}
	s.rest()
}

func (s *scanner) header() {
	line := s.line
	s.skip(1)
	array := s.peek() == '['
	if array {
		s.skip(1)
	}
	keys := s.keys()
	path := ""
	for i, k := range keys {
		path = join(path, k)
		s.mark(path, line)
		n, isArray := s.count[path]
		switch {
		case i == len(keys)-1 && array:
			s.count[path] = n + 1
			path = element(path, n)
			s.mark(path, line)
		case isArray:
			path = element(path, n-1)
		}
	}
	s.table = path
}

func (s *scanner) mark(path string, line int) {
	if _, ok := s.at[path]; !ok {
		s.at[path] = line
	}
}

// pair reads key = value into the table at path.
func (s *scanner) pair(path string, depth int) {
	line := s.line
	for _, k := range s.keys() {
		path = join(path, k)
		s.mark(path, line)
	}
	s.blank()
	if s.peek() == '=' {
		s.skip(1)
		s.value(path, depth)
	}
}

// keys reads a dotted key.
func (s *scanner) keys() (out []string) {
	for {
		s.blank()
		out = append(out, s.key())
		s.blank()
		if s.peek() != '.' {
			return out
		}
		s.skip(1)
		if len(out) >= maxDepth {
			s.deep = s.line
			return out
		}
	}
}

func (s *scanner) key() string {
	if c := s.peek(); c == '"' || c == '\'' {
		return s.text()
	}
	from := s.pos
	for s.pos < len(s.src) && !strings.ContainsRune(" \t\r\n.=[]{},#\"'", rune(s.src[s.pos])) {
		s.skip(1)
	}
	return s.src[from:s.pos]
}

func (s *scanner) value(path string, depth int) {
	if depth > maxDepth {
		s.deep = s.line
		return
	}
	s.blank()
	switch s.peek() {
	case '"', '\'':
		s.text()
	case '[':
		s.skip(1)
		s.array(path, depth+1)
	case '{':
		s.skip(1)
		s.inline(path, depth+1)
	default: // a number, a truth value, a date
		for s.pos < len(s.src) && !strings.ContainsRune(",]}#\n", rune(s.src[s.pos])) {
			s.skip(1)
		}
	}
}

func (s *scanner) array(path string, depth int) {
	for i := 0; s.deep == 0; i++ {
		s.space()
		if s.pos >= len(s.src) || s.peek() == ']' {
			break
		}
		from := s.pos
		s.mark(element(path, i), s.line)
		s.value(element(path, i), depth)
		s.space()
		if s.peek() == ',' {
			s.skip(1)
		}
		if s.pos == from { // not TOML
			return
		}
	}
	s.skip(1)
}

func (s *scanner) inline(path string, depth int) {
	for s.deep == 0 {
		s.space()
		if s.pos >= len(s.src) || s.peek() == '}' {
			break
		}
		from := s.pos
		s.pair(path, depth)
		s.space()
		if s.peek() == ',' {
			s.skip(1)
		}
		if s.pos == from { // not TOML
			return
		}
	}
	s.skip(1)
}

// text reads a string of any of the four kinds and gives what a key in quotes
// means: the escapes of basic strings are undone.
func (s *scanner) text() string {
	q := s.src[s.pos : s.pos+1]
	if strings.HasPrefix(s.src[s.pos:], q+q+q) {
		s.multiline(q[0])
		return ""
	}
	s.skip(1)
	from := s.pos
	for s.pos < len(s.src) && s.peek() != q[0] && s.peek() != '\n' {
		if q == `"` && s.peek() == '\\' && s.pos+1 < len(s.src) && s.src[s.pos+1] != '\n' {
			s.skip(1)
		}
		s.skip(1)
	}
	t := s.src[from:min(s.pos, len(s.src))]
	if s.peek() == q[0] {
		s.skip(1)
	}
	if q == `"` && strings.ContainsRune(t, '\\') {
		return unescape(t)
	}
	return t
}

// multiline skips a string in three quotes; up to two more may stand before
// the closing three.
func (s *scanner) multiline(q byte) {
	s.skip(3)
	for s.pos < len(s.src) {
		switch {
		case q == '"' && s.peek() == '\\':
			s.next()
			s.next()
			continue
		case strings.HasPrefix(s.src[s.pos:], strings.Repeat(string(q), 3)):
			s.skip(3)
			for i := 0; i < 2 && s.peek() == q; i++ {
				s.skip(1)
			}
			return
		}
		s.next()
	}
}

// unescape undoes the escapes of a basic string.
func unescape(t string) string {
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		if t[i] != '\\' || i+1 == len(t) {
			b.WriteByte(t[i])
			continue
		}
		i++
		switch c := t[i]; c {
		case 'u', 'U', 'x':
			n := map[byte]int{'u': 4, 'U': 8, 'x': 2}[c]
			if r, err := strconv.ParseUint(t[i+1:min(i+1+n, len(t))], 16, 32); err == nil {
				b.WriteRune(rune(r))
			}
			i += n
		default:
			if r := strings.IndexByte("btnfre", c); r >= 0 {
				b.WriteByte("\b\t\n\f\r\x1b"[r])
			} else {
				b.WriteByte(c)
			}
		}
	}
	return b.String()
}
