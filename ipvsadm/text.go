package ipvsadm

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unsafe"
)

// text is a rules input, held in memory once: it is parsed twice, to be judged
// as a whole before anything is done, and the second time to do it. No line
// goes over the end of a chunk. The chunks are never changed, so that words may
// be strings within them.
type text struct {
	chunks [][]byte
	strict bool // ipvsadm-restore: a comment is a line that begins with "#"
	full   int  // the first line for full NAT; 0: none
}

const (
	chunkSize = 256 << 10
	maxLine   = chunkSize / 4
	maxChunks = 1 << 10 // 256 MiB: no table is that long, but a pipe may have no end
)

var (
	errLongLine = errors.New("line too long")
	errUTF16    = errors.New("it is UTF-16: save it as UTF-8")
	errLongText = errors.New("more than 256 MiB")
)

// read takes in all of r.
func (t *text) read(r io.Reader) error {
	var tail []byte // the beginning of a line whose end is still to come
	for {
		chunk := make([]byte, chunkSize)
		n := copy(chunk, tail)
		m, err := io.ReadFull(r, chunk[n:])
		chunk = chunk[:n+m]
		if len(t.chunks) == 0 {
			for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
				if bytes.HasPrefix(chunk, []byte(mark)) {
					return errUTF16
				}
			}
			chunk = bytes.TrimPrefix(chunk, []byte("\xef\xbb\xbf")) // editors of Windows put it there
		}
		end := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !end {
			return err
		}
		if end {
			t.chunks = append(t.chunks, chunk)
			return nil
		}
		cut := bytes.LastIndexByte(chunk, '\n') + 1
		switch {
		case len(chunk)-cut > maxLine:
			return errLongLine
		case len(t.chunks) == maxChunks:
			return errLongText
		}
		t.chunks, tail = append(t.chunks, chunk[:cut]), chunk[cut:]
	}
}

// A place is a position in a text, before a line. The zero place is the start.
type place struct{ chunk, offset, line int }

// next returns the line at the place, without its newline, and moves on.
func (t *text) next(at *place) (line string, ok bool) {
	for at.chunk < len(t.chunks) {
		rest := t.chunks[at.chunk][at.offset:]
		if len(rest) == 0 {
			at.chunk, at.offset = at.chunk+1, 0
			continue
		}
		n := bytes.IndexByte(rest, '\n')
		at.line++
		if n < 0 {
			n = len(rest)
			at.offset += n
		} else {
			at.offset += n + 1
		}
		return unsafe.String(unsafe.SliceData(rest), n), true
	}
	return "", false
}

// split appends the words of a line. Blanks, tabs and carriage returns are
// between words; there are no quotes. The name of the program is no word:
// "ipvsadm" anywhere, and a path to it in front.
func (t *text) split(words []string, line string) []string {
	if t.strict && strings.HasPrefix(line, "#") {
		return words
	}
	for i := 0; ; {
		for i < len(line) && blank(line[i]) {
			i++
		}
		start := i
		for i < len(line) && !blank(line[i]) {
			i++
		}
		w := line[start:i]
		switch {
		case w == "", w[0] == '#' && !t.strict:
			return words
		case w == "ipvsadm", len(words) == 0 && programName(w):
		default:
			words = append(words, w)
		}
	}
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

func programName(w string) bool {
	return w == "goipvs" || strings.HasSuffix(w, "/ipvsadm") || strings.HasSuffix(w, "/goipvs")
}
