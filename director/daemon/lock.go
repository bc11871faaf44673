package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is held by the one daemon of a control socket. It is a lock of the
// kernel's on a file beside the socket, so it ends with the process, however
// that ends; there is no stale one.
type Lock struct{ f *os.File }

// RunningError says that another daemon holds the lock.
type RunningError struct {
	Path string
	PID  int // 0: not known
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return "another goipvsd runs with " + e.Path
	}
	return fmt.Sprintf("another goipvsd runs with %s, process %d", e.Path, e.PID)
}

func lockPath(socket string) string { return socket + ".lock" }

// Acquire takes the lock of a control socket; the error is a *RunningError when
// somebody else has it. A folder that is missing is made.
func Acquire(socket string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockPath(socket), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &RunningError{socket, pid(f)}
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	l := &Lock{f}
	l.mark()
	return l, nil
}

// mark writes down whose lock it is, for people and for goipvsd stop.
func (l *Lock) mark() {
	if err := l.f.Truncate(0); err == nil {
		_, _ = l.f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
}

// Release gives the lock back.
func (l *Lock) Release() { l.f.Close() }

// Holder tells which process holds the lock of a control socket: 0 and false
// when none does, 0 and true when one does that is not known.
func Holder(socket string) (process int, running bool) {
	f, err := os.OpenFile(lockPath(socket), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return 0, false // closing gives it back
	}
	return pid(f), true
}

// AwaitEnd waits until nobody holds the lock, and reports false when that takes
// longer than the patience.
func AwaitEnd(socket string, patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, running := Holder(socket); !running {
			return true
		}
	}
	return false
}

func pid(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return n
}
