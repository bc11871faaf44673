package boot

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

type brokenWriter struct{}

var errBroken = errors.New("no space")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestCopied(t *testing.T) {
	text := strings.Repeat("x", 200_000)
	var good, bad copied
	var out bytes.Buffer
	arrived := make(chan struct{}, 1)
	good.copy(&out, strings.NewReader(text), arrived)
	if out.String() != text || good.n.Load() != int64(len(text)) || good.err != nil {
		t.Errorf("%d bytes, counted %d, %v", out.Len(), good.n.Load(), good.err)
	}
	select {
	case <-arrived:
	default:
		t.Error("no arrival was signalled")
	}
	// The machine must be able to write on, and the error must not be lost.
	bad.copy(brokenWriter{}, strings.NewReader(text), arrived)
	if bad.n.Load() != int64(len(text)) || !errors.Is(bad.err, errBroken) {
		t.Errorf("counted %d, %v", bad.n.Load(), bad.err)
	}
}

// slowWriter says that it was called and waits to be told to go on.
type slowWriter struct{ called, goOn chan struct{} }

func (w slowWriter) Write(p []byte) (int, error) {
	close(w.called)
	<-w.goOn
	return len(p), nil
}

func TestCopiedTellsThatItWaits(t *testing.T) {
	var c copied
	w := slowWriter{make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.copy(w, strings.NewReader("x"), make(chan struct{}, 1))
	}()
	<-w.called
	if !c.writing.Load() {
		t.Error("does not tell that it waits for its reader")
	}
	close(w.goOn)
	<-done
	if c.writing.Load() {
		t.Error("still waits after the end")
	}
}
