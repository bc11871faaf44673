package healthcheck

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A transcript holds at most maxTranscript bytes, of each message maxLine.
const (
	maxTranscript = 2 << 10
	maxLine       = 240
)

// transcript is what a check said and heard, for people: shortened, control
// characters escaped. Where the check has a secret, only the size of what was
// sent is told, and a server that repeats it is not quoted with it.
type transcript struct {
	mu      sync.Mutex
	text    strings.Builder
	cut     bool
	secrets *strings.Replacer // nil: none
}

// secretsOf puts asterisks in the place of the check's secrets, in the forms in
// which they are sent in clear; nil when there are none. What is shorter than
// three bytes is no secret, and in every other word.
func secretsOf(c Check) *strings.Replacer {
	var pairs []string
	for _, s := range []string{c.Password, c.Secret} {
		if len(s) < 3 {
			continue
		}
		quoted := strings.Trim(strconv.Quote(s), `"`)
		for _, form := range []string{s, quoted, base64Of(s), base64Of(c.Login + ":" + s), base64Of("\x00" + c.Login + "\x00" + s)} {
			pairs = append(pairs, form, "***")
		}
	}
	if c.Password+c.Secret == "" {
		return nil
	}
	return strings.NewReplacer(pairs...)
}

// hide puts asterisks in the place of secrets.
func (t *transcript) hide(s string) string {
	if t.secrets == nil {
		return s
	}
	return t.secrets.Replace(s)
}

func (t *transcript) note(format string, args ...any) {
	t.line("* " + clean(t.hide(fmt.Sprintf(format, args...))))
}

func (t *transcript) received(p []byte) {
	if len(p) > 0 {
		t.line("< " + shorten([]byte(t.hide(string(p)))))
	}
}

func (t *transcript) sent(p []byte) {
	switch {
	case len(p) == 0:
	case t.secrets != nil:
		t.line(fmt.Sprintf("> %d bytes", len(p)))
	default:
		t.line("> " + shorten(p))
	}
}

func (t *transcript) line(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.cut:
	case t.text.Len()+len(s) > maxTranscript:
		t.text.WriteString("* and so on\n")
		t.cut = true
	default:
		t.text.WriteString(s + "\n")
	}
}

// String returns the lines; it stays valid when more are written.
func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

func shorten(p []byte) string {
	if len(p) <= maxLine {
		return clean(string(p))
	}
	return fmt.Sprintf("%s... (%d bytes)", clean(string(p[:maxLine])), len(p))
}

// clean escapes what a terminal would act on: whoever reads this trusts us,
// not the server.
func clean(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !strconv.IsPrint(r):
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
