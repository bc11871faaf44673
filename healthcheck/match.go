package healthcheck

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxAnswer is how much of an answer is read and looked through.
const maxAnswer = 64 << 10

// A matcher judges an answer.
type matcher interface {
	Match(answer []byte) bool
	String() string
}

// newMatcher reads what Receive says: an RE2 expression, which cannot be made
// to take exponential time; or "hex:" and the bytes that the answer begins
// with, x for any half byte; or "md5:" and the MD5 sum of the whole answer, in
// hexadecimal. Empty, any answer will do and nil is returned.
func newMatcher(receive string) (matcher, error) {
	if digits, ok := strings.CutPrefix(receive, "md5:"); ok {
		var m sumMatcher
		if n, err := hex.Decode(m[:], []byte(digits)); err != nil || n != len(m) {
			return nil, errors.New("receive: md5: wants 32 hexadecimal digits")
		}
		return m, nil
	}
	if digits, ok := strings.CutPrefix(receive, "hex:"); ok {
		return newHexMatcher(digits)
	}
	if receive == "" {
		return nil, nil
	}
	re, err := regexp.Compile(receive)
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return re, nil
}

// sumMatcher is the sum of the one answer that is right. It is no secret, and
// nobody is kept out by it: keepalived's users know their pages by MD5.
type sumMatcher [md5.Size]byte

// Match tells whether the answer has the sum. One that is longer than what is
// read of answers has not.
func (m sumMatcher) Match(answer []byte) bool { return md5.Sum(answer) == m }

func (m sumMatcher) String() string { return "md5:" + hex.EncodeToString(m[:]) }

// hexMatcher holds half bytes; wild is any.
type hexMatcher struct{ halves []byte }

const wild = 0xff

func newHexMatcher(digits string) (matcher, error) {
	var m hexMatcher
	for _, r := range strings.ToLower(strings.ReplaceAll(digits, " ", "")) {
		switch at := strings.IndexRune("0123456789abcdef", r); {
		case r == 'x':
			m.halves = append(m.halves, wild)
		case at >= 0:
			m.halves = append(m.halves, byte(at))
		default:
			return nil, fmt.Errorf("receive: %q is no hexadecimal digit and not x", r)
		}
	}
	if len(m.halves)%2 != 0 || len(m.halves) == 0 {
		return nil, errors.New("receive: hex: wants two digits for each byte")
	}
	return m, nil
}

// Match tells whether the answer begins with the bytes.
func (m hexMatcher) Match(answer []byte) bool {
	if len(answer) < len(m.halves)/2 {
		return false
	}
	for i, want := range m.halves {
		have := answer[i/2] >> 4
		if i%2 == 1 {
			have = answer[i/2] & 0xf
		}
		if want != wild && want != have {
			return false
		}
	}
	return true
}

func (m hexMatcher) String() string {
	var b strings.Builder
	for _, h := range m.halves {
		if h == wild {
			b.WriteByte('x')
		} else {
			fmt.Fprintf(&b, "%x", h)
		}
	}
	return "hex:" + b.String()
}

// payload reads what Request says is to be sent: the text as it is, or bytes
// after "hex:".
func payload(request string) ([]byte, error) {
	digits, ok := strings.CutPrefix(request, "hex:")
	if !ok {
		return []byte(request), nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	return b, nil
}

// unexpected is the reason when an answer does not match.
func unexpected(m matcher, answer []byte) error {
	return fmt.Errorf("the answer does not match %q: %q", m, head(answer, 80))
}

func head(b []byte, n int) string {
	if len(b) <= n {
		return string(b)
	}
	return string(b[:n]) + "..."
}
