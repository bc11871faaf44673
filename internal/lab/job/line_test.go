package job

import (
	"errors"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	e := Ending{Status: 137, Out: 1 << 40, Err: 3}
	if got, err := ParseEnding(rest(t, e.Line(), Exit)); got != e || err != nil {
		t.Errorf("ending %+v, %v", got, err)
	}
	w := Window{Rows: 24, Cols: 80}
	if got, err := ParseWindow(rest(t, w.Line(), Resize)); got != w || err != nil {
		t.Errorf("window %+v, %v", got, err)
	}
	const text = "two\nlines \"quoted\""
	if got := ParseFault(rest(t, FaultLine(errors.New(text)), Fault)); got != text {
		t.Errorf("fault %q", got)
	}
}

// rest checks that s is one line of the word and returns the rest.
func rest(t *testing.T, s, word string) string {
	t.Helper()
	line, after, _ := strings.Cut(s, "\n")
	first, rest, _ := strings.Cut(line, " ")
	if first != word || after != "" {
		t.Fatalf("%q is not one line that begins with %s", s, word)
	}
	return rest
}

func FuzzLines(f *testing.F) {
	f.Add("0 0 0")
	f.Add("-1 99999999999999999999 x")
	f.Add(`"unterminated`)
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := ParseEnding(s); err == nil {
			if again, err := ParseEnding(rest(t, e.Line(), Exit)); err != nil || again != e {
				t.Errorf("%q: %+v, again %+v, %v", s, e, again, err)
			}
		}
		if w, err := ParseWindow(s); err == nil {
			if again, err := ParseWindow(rest(t, w.Line(), Resize)); err != nil || again != w {
				t.Errorf("%q: %+v, again %+v, %v", s, w, again, err)
			}
		}
		if got := ParseFault(rest(t, FaultLine(errors.New(s)), Fault)); got != s {
			t.Errorf("fault %q became %q", s, got)
		}
	})
}
