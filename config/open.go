package config

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// MaxFile is how many bytes a configuration may have.
const MaxFile = 16 << 20

const (
	maxSecret = 4 << 10
	maxFiles  = 4096
)

// readFile reads a regular file of at most limit bytes. Opening does not wait: a
// FIFO without a writer would never return.
func readFile(path string, limit int64) ([]byte, os.FileMode, *Problem) {
	fail := func(text, hint string) *Problem { return &Problem{File: path, Text: text, Hint: hint} }
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, fail(reason(err), readHint(err))
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, 0, fail(reason(err), "")
	case !st.Mode().IsRegular():
		return nil, 0, fail("not a regular file: "+fileKind(st.Mode()), "")
	case st.Size() > limit:
		return nil, 0, fail("the file is too large", "")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, 0, fail(reason(err), "")
	case int64(len(b)) > limit: // it grows
		return nil, 0, fail("the file is too large", "")
	}
	return b, st.Mode(), nil
}

// A Sum tells whether the contents of a file are the same.
type Sum [sha256.Size]byte

// SumOf is of a file's contents.
func SumOf(contents []byte) Sum { return sha256.Sum256(contents) }

// addFile notes that a file was read.
func (c *Config) addFile(path string, contents []byte) {
	if _, ok := c.Sums[path]; ok {
		return
	}
	if c.Sums == nil {
		c.Sums = make(map[string]Sum)
	}
	c.Files = append(c.Files, path)
	c.Sums[path] = SumOf(contents)
}

// ReadFile reads a regular file of at most [MaxFile] bytes. It never waits, as it
// would for a FIFO.
func ReadFile(path string) ([]byte, error) {
	b, _, p := readFile(path, MaxFile)
	if p != nil {
		return nil, errors.New(p.String())
	}
	return b, nil
}

// reason is the error without the path, which stands before it anyway.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}

func readHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return `"goipvs import ldirectord FILE" (or keepalived) makes one; a small one is in the examples of goipvs.toml(5)`
	case errors.Is(err, fs.ErrPermission):
		return "the daemon's user must be able to read it: chgrp goipvs and chmod 0640"
	}
	return ""
}

func fileKind(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeNamedPipe != 0:
		return "a FIFO"
	case m&os.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
