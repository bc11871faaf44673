package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strconv"
)

// A Journal is a file of records, each a text without newlines, that grows by
// appending: a change costs what it says, however much there is. A record is on
// disk, whole, when Append returns, or it is not there. Path empty: nothing is
// kept. It is for one goroutine.
type Journal struct {
	Path string

	f     *os.File // nil: to be written as a whole first
	size  int64
	wrote int // records in it
}

// journalHead is the first line, so that people know what they see.
const journalHead = "# goipvsd's journal, version 1: each line has a checksum"

// Load reads the records. That there is no file is no error. When it is not what
// was written, or cannot be read, the error says where it was put aside, and the
// records are those before what is wrong. A last line that is not whole was never
// acknowledged, and is no error.
func (j *Journal) Load() (records []string, err error) {
	if j.Path == "" {
		return nil, nil
	}
	sweep(j.Path)
	b, err := read(j.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		records, err = parseJournal(b)
	}
	if err != nil {
		return records, setAside(j.Path, err)
	}
	return records, nil
}

func parseJournal(b []byte) (records []string, err error) {
	if len(b) == 0 {
		return nil, errors.New("it is empty")
	}
	for n := 1; len(b) > 0; n++ {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		switch text, ok := checked(line); {
		case n == 1 && (!whole || string(line) != journalHead):
			return nil, errors.New("line 1: it is no journal of this version")
		case n == 1:
		case ok && whole:
			records = append(records, text)
		case !whole:
			return records, nil // torn by a crash, or by a full disk
		default:
			return records, fmt.Errorf("line %d: checksum does not match, %d lines before it do", n, n-2)
		}
		b = rest
	}
	return records, nil
}

func journalLine(record string) []byte {
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE([]byte(record)), record)
}

func checked(line []byte) (record string, ok bool) {
	sum, text, ok := bytes.Cut(line, []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	return string(text), ok && err == nil && len(sum) == 8 && uint32(want) == crc32.ChecksumIEEE(text)
}

// Records is how many there are in the file; -1: it is to be written as a whole.
func (j *Journal) Records() int {
	if j.f == nil {
		return -1
	}
	return j.wrote
}

// Rewrite replaces the file as a whole; on an error the old one stays.
func (j *Journal) Rewrite(records []string) error {
	if j.Path == "" {
		return nil
	}
	j.Close()
	b := []byte(journalHead + "\n")
	for _, r := range records {
		b = append(b, journalLine(r)...)
	}
	if err := replace(j.Path, b); err != nil {
		return err
	}
	f, err := os.OpenFile(j.Path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil // it is written, and will be as a whole the next time, too
	}
	j.f, j.size, j.wrote = f, int64(len(b)), len(records)
	return nil
}

// Append adds records, all or none. After an error the file is as it was and wants
// Rewrite.
func (j *Journal) Append(records ...string) error {
	if j.Path == "" {
		return nil
	}
	if j.f == nil {
		return errors.New("the journal was not written yet")
	}
	var b []byte
	for _, r := range records {
		b = append(b, journalLine(r)...)
	}
	_, err := j.f.Write(b)
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		err = errors.Join(err, j.f.Truncate(j.size)) // else what is torn is dropped when it is read
		j.Close()
		return err
	}
	j.size += int64(len(b))
	j.wrote += len(records)
	return nil
}

// Close closes the file; the next change writes it as a whole.
func (j *Journal) Close() {
	if j.f != nil {
		_ = j.f.Close()
		j.f = nil
	}
}
