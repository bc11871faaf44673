package director

import (
	"strings"
	"unicode"
)

// cleanLimit is the length in bytes beyond which text from outside is cut.
const cleanLimit = 1024

// Clean makes text that came from a server, a file or a person safe to be shown:
// control characters become spaces, so that nobody writes lines of his own into
// a log or colours a terminal, and what is too long is cut.
func Clean(s string) string {
	if len(s) > cleanLimit {
		s = strings.ToValidUTF8(s[:cleanLimit], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}
