package daemon

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// stuck is where a log goes that nobody reads until it is let go.
type stuck struct {
	buffer
	open chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.open
	return s.buffer.Write(p)
}

// TestLogIsStuck: a daemon whose log nobody takes sees servers die, answers and
// ends as ever. What there was no room for is counted.
func TestLogIsStuck(t *testing.T) {
	f := newFixture(t, 2)
	f.write(f.text("log_level = \"debug\"\n"))
	out := &stuck{open: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Config: f.path("goipvs.toml"), Version: "test", Kernel: f.kernel, LogTo: out, Ready: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	f.has(1, "1")
	f.servers[1].Close()
	f.has(1, "0")
	f.must(f.do("status", nil, nil))
	f.reload("", "")
	cancel()
	f.must(<-done)
	close(out.open)
	f.await("the log is written after all", func() bool { return strings.Contains(out.String(), "event=stopped") })
}

// TestLogIsLost: lines for which there is no room are lost, and said.
func TestLogIsLost(t *testing.T) {
	out := &stuck{open: make(chan struct{})}
	q := newLogQueue(out)
	var said sync.WaitGroup
	said.Go(func() {
		q.run(func(lines int) { _, _ = q.Write([]byte("lost\n")) })
	})
	line := bytes.Repeat([]byte("x"), logRoom/4)
	for range 20 { // what is being written, and what has room
		_, _ = q.Write(line)
	}
	close(out.open)
	q.close()
	said.Wait()
	if text := out.String(); !strings.HasSuffix(text, "lost\n") || strings.Count(text, "lost") != 1 || len(text) > 3*logRoom {
		t.Errorf("%d bytes, which end with %q", len(text), text[max(0, len(text)-20):])
	}
	start := time.Now()
	hung := newLogQueue(&stuck{open: make(chan struct{})})
	go hung.run(func(int) {})
	_, _ = hung.Write([]byte("never\n"))
	if hung.close(); time.Since(start) < logPatience {
		t.Error("the end did not wait for the last lines")
	}
}
