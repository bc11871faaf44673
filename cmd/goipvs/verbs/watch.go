package verbs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// watch shows something again every second, until nobody takes it. On a terminal
// each picture takes the place of the one before, cut to what fits there; a file,
// a pipe or a dumb terminal gets them one after the other, as they are. What could be shown once
// and then cannot, as of a daemon that is restarted, is waited for.
func (v *verbs) watch(show func(io.Writer) error) {
	for shown, away := false, false; v.out.err == nil; time.Sleep(time.Second) {
		var picture bytes.Buffer
		err := show(&picture)
		if err != nil && !away {
			v.refused(err)
		}
		if err != nil && !shown {
			return
		}
		if away = err != nil; away {
			continue
		}
		shown = true
		if rows, columns, is := terminal(v.out.w); is {
			fmt.Fprint(v.out, frame(picture.String(), rows, columns))
		} else {
			fmt.Fprintln(v.out, picture.String())
		}
	}
}

// terminal is the size of the terminal that w is, if that can place text.
func terminal(w io.Writer) (rows, columns int, is bool) {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok || os.Getenv("TERM") == "dumb" {
		return 0, 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, false
	}
	return int(size.Row), int(size.Col), true
}

// frame is text for a terminal of some size, 0 by 0 where that is not known. Each
// line is written over the old one: to clear the screen first makes it flicker.
func frame(text string, rows, columns int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if more := len(lines) - (rows - 1); rows > 1 && more > 0 {
		lines = append(lines[:rows-2:rows-2], fmt.Sprintf("... %d lines more", more+1))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines {
		if r := []rune(line); columns > 0 && len(r) > columns {
			line = string(r[:columns])
		}
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}
