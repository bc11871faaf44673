package procfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// ErrInput is what a reader finds that is not what the kernel writes there.
var ErrInput = errors.New("unexpected input")

// longestRow bounds a row. The kernel's longest, IPv6 with 255 bytes of engine
// data, is shorter than 500 bytes.
const longestRow = 16 << 10

// Connections reads /proc/net/ip_vs_conn or ip_vs_conn_sync. A row that cannot
// be understood is an error (ErrInput, with its line number) and the rows after
// it follow: engine data comes from packets, so a row may be broken on purpose.
// An error of r ends the sequence.
func Connections(r io.Reader) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		p := connParser{r: bufio.NewReaderSize(r, longestRow), words: make(map[string]string)}
		if err := p.header(); err != nil {
			yield(Connection{}, err)
			return
		}
		for {
			c, err := p.next()
			if errors.Is(err, io.EOF) || !yield(c, err) || err != nil && !errors.Is(err, ErrInput) {
				return
			}
		}
	}
}

// connParser reads rows. States, engines and origins are few words: each is
// made a string once.
type connParser struct {
	r     *bufio.Reader
	line  int
	sync  bool // columns of ip_vs_conn_sync
	words map[string]string
}

// header reads the line that tells the columns.
func (p *connParser) header() error {
	b, err := p.row()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: no header", ErrInput)
	}
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(b, []byte("Pro FromIP ")) {
		return p.unexpected(b)
	}
	p.sync = bytes.Contains(b, []byte(" Origin "))
	return nil
}

// row reads a line without its newline, valid until the next row. What is too
// long is skipped.
func (p *connParser) row() ([]byte, error) {
	p.line++
	b, err := p.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, p.skip()
	case errors.Is(err, io.EOF) && len(b) > 0:
		err = nil
	}
	return bytes.TrimSuffix(b, []byte("\n")), err
}

// skip reads the rest of a row that is too long.
func (p *connParser) skip() error {
	for {
		switch _, err := p.r.ReadSlice('\n'); {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && !errors.Is(err, io.EOF):
			return err
		default:
			return fmt.Errorf("%w: line %d is longer than %d bytes", ErrInput, p.line, longestRow)
		}
	}
}

func (p *connParser) next() (Connection, error) {
	row, err := p.row()
	if err != nil {
		return Connection{}, err
	}
	c, ok := p.parse(row)
	if !ok {
		return Connection{}, p.unexpected(row)
	}
	return c, nil
}

// unexpected quotes the beginning of the row: the rest may be long, and any of
// it may be meant for a terminal.
func (p *connParser) unexpected(row []byte) error {
	return fmt.Errorf("%w: line %d: %q", ErrInput, p.line, row[:min(len(row), 60)])
}

// parse reads "Pro FromIP FPrt ToIP TPrt DestIP DPrt State" and then either
// "Expires [PEName PEData]" or "Origin Expires" (ip_vs_conn_seq_show and
// ip_vs_conn_sync_seq_show in ip_vs_conn.c).
func (p *connParser) parse(row []byte) (c Connection, ok bool) {
	f := fieldReader{row: row, ok: true}
	c.Protocol = f.protocol()
	c.Client = f.endpoint()
	c.Virtual = f.endpoint()
	c.Destination = f.endpoint()
	c.State = p.word(f.next())
	if p.sync {
		c.Origin = p.word(f.next())
	}
	c.Expires = f.seconds()
	if name, more := f.optional(); more {
		c.PE = p.word(name)
		c.PEData = string(f.rest())
	}
	return c, f.ok
}

// word returns b as a string, the same one every time. A bounded number of
// words is kept, in case they are not what we think.
func (p *connParser) word(b []byte) string {
	if s, ok := p.words[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(p.words) < 256 {
		p.words[s] = s
	}
	return s
}

// expired is where seconds stop to be a time from now: kernels before 4.20
// print a timer that is due as an unsigned negative number.
const expired = 1 << 31

func clampSeconds(n uint64) time.Duration {
	if n >= expired {
		return 0
	}
	return time.Duration(n) * time.Second
}
