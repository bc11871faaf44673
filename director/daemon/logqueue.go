package daemon

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// logQueue keeps those who log from waiting for whoever takes the log: a pipe
// that nobody reads, a journal that is stuck or a disk that hangs must not hold
// up a verdict, an answer or the end. What has no room is lost, and counted.
type logQueue struct {
	to    io.Writer
	ended chan struct{} // closed: nothing is written any more

	mu     sync.Mutex
	news   *sync.Cond
	lines  [][]byte
	size   int
	lost   int
	closed bool
}

const (
	// logRoom is how many bytes of log may wait for whoever takes it.
	logRoom = 1 << 20
	// logPatience is how long the end waits for the last lines to be taken.
	logPatience = 2 * time.Second
)

// newLogQueue begins to write to w what it is given; close ends it.
func newLogQueue(w io.Writer) *logQueue {
	q := &logQueue{to: w, ended: make(chan struct{})}
	q.news = sync.NewCond(&q.mu)
	return q
}

// Write takes a line. It does not wait, and does not fail.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size+len(line) > logRoom {
		q.lost++
		return len(line), nil
	}
	q.lines = append(q.lines, bytes.Clone(line))
	q.size += len(line)
	q.news.Signal()
	return len(line), nil
}

// run writes the lines, a call each as syslog wants it, until close has been
// called and all are written. It calls lost, which may write, with how many lines
// had no room, once there is some.
func (q *logQueue) run(lost func(lines int)) {
	defer close(q.ended)
	for {
		lines, n := q.take()
		switch {
		case n > 0:
			lost(n)
		case lines == nil:
			return
		}
		for _, l := range lines {
			_, _ = q.to.Write(l) // there is nobody to tell
		}
	}
}

// take waits for lines; nil: there will be none. It also tells how many were lost
// since it was called last.
func (q *logQueue) take() (lines [][]byte, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lines) == 0 && !q.closed {
		q.news.Wait()
	}
	lines, lost = q.lines, q.lost
	q.lines, q.size, q.lost = nil, 0, 0
	return lines, lost
}

// close waits for the last lines to be written, for as long as is reasonable.
func (q *logQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.news.Signal()
	q.mu.Unlock()
	select {
	case <-q.ended:
	case <-time.After(logPatience):
	}
}
