package boot

import (
	"bytes"
	"os"
	"sync"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// A tail keeps the last part of the kernel's messages. It is safe for use by
// several goroutines.
type tail struct {
	mu   sync.Mutex
	buf  []byte
	file *os.File // also gets all of it, if not nil
}

const (
	tailBytes = 64 << 10
	tailLines = 100
)

func (t *tail) open(path string) {
	if path != "" {
		t.file, _ = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	}
}

// Write never fails: messages are an aid, not the purpose.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil {
		_, _ = t.file.Write(p)
	}
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*tailBytes {
		t.buf = append([]byte(nil), t.buf[len(t.buf)-tailBytes:]...)
	}
	return len(p), nil
}

// last is the end of the messages, ready to be put after an error. Those of a
// boot that went well are left out.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.buf
	if i := bytes.LastIndex(text, []byte(job.Booted)); i >= 0 {
		text = text[i+len(job.Booted):]
	}
	text = bytes.ReplaceAll(bytes.TrimSpace(text), []byte("\r"), nil)
	if len(text) == 0 {
		return "; the kernel said nothing"
	}
	lines := bytes.Split(text, []byte("\n"))
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return "; the kernel's last messages:\n" + string(bytes.Join(lines, []byte("\n")))
}
