package daemon

import (
	"cmp"
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

// Lock is held by the one daemon of a control socket, and of a state_dir: two
// would take each other's services for what is left of their own. They are locks
// of the kernel's on files (flock), so they end with the process, however that ends;
// there are no stale ones, and an upgrade hands them over.
//
// Nobody can ask for a flock without taking it, which a start in that moment would
// find taken. So its holder has the same open file's record lock (F_OFD_SETLK in
// fcntl(2)), too, which can be asked for.
type Lock struct {
	f     *os.File // beside the control socket
	state *os.File // in state_dir; nil: there can be none, the disk is full perhaps
	place Place
}

// RunningError says that another daemon holds a lock.
type RunningError struct {
	Path string // of its control socket, or its state_dir
	PID  int    // 0: not known
	// Config is the file that the daemon runs by which has our state_dir; empty: it
	// has our control socket.
	Config string
}

func (e *RunningError) Error() string {
	text := "another goipvsd runs with " + e.Path
	if e.PID != 0 {
		text += fmt.Sprintf(", process %d", e.PID)
	}
	if e.Config != "" {
		text += " by " + e.Config
	}
	return text
}

func lockPath(socket string) string { return socket + ".lock" }

// stateLockPath is empty without a state_dir.
func stateLockPath(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "goipvsd.lock")
}

// errHeld: somebody else has a lock.
var errHeld = errors.New("locked")

// Acquire takes the locks of a place; the error is a *RunningError when somebody
// else has one of them. Folders that are missing are made.
func Acquire(p Place) (*Lock, error) {
	f, err := lock(lockPath(p.Control))
	if errors.Is(err, errHeld) {
		pid, _ := p.ControlHolder()
		return nil, &RunningError{Path: p.Control, PID: pid}
	}
	if err != nil {
		return nil, err
	}
	l := &Lock{f: f, place: p}
	if err := l.lockState(); err != nil {
		l.Release()
		return nil, err
	}
	l.mark()
	return l, nil
}

// lockState takes the lock of a state_dir. That there is no place for it keeps
// nobody from running, as with the other files there.
func (l *Lock) lockState() error {
	path := stateLockPath(l.place.StateDir)
	if path == "" {
		return nil
	}
	f, err := lock(path)
	if errors.Is(err, errHeld) {
		who, _ := holder(path)
		return &RunningError{Path: l.place.StateDir, PID: who.pid, Config: cmp.Or(who.config, "another file")}
	}
	if err == nil {
		l.state = f
	}
	return nil
}

// renew takes locks anew whose files somebody removed, so that a second daemon
// would find them free. The error is a *RunningError when one has.
func (l *Lock) renew() error {
	whole := true
	if path := lockPath(l.place.Control); !sameFile(l.f, path) {
		f, err := lock(path)
		if errors.Is(err, errHeld) {
			pid, _ := l.place.ControlHolder()
			err = &RunningError{Path: l.place.Control, PID: pid}
		}
		if err != nil {
			return err
		}
		l.f.Close()
		l.f, whole = f, false
	}
	if old := l.state; old != nil && !sameFile(old, stateLockPath(l.place.StateDir)) {
		if err := l.lockState(); err != nil {
			return err
		}
		if whole = l.state == old; !whole {
			old.Close()
		}
	}
	if !whole {
		l.mark()
	}
	return nil
}

func lock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		l := wholeFile()
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EAGAIN) {
			return nil, errHeld
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

func wholeFile() unix.Flock_t { return unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart} }

// mark writes down whose locks they are, for people and for goipvsd stop.
func (l *Lock) mark() {
	text := []byte(strconv.Itoa(os.Getpid()) + "\n" + l.place.config + "\n")
	for _, f := range l.files() {
		if err := f.Truncate(0); err == nil {
			_, _ = f.WriteAt(text, 0)
		}
	}
}

func (l *Lock) files() []*os.File {
	if l.state == nil {
		return []*os.File{l.f}
	}
	return []*os.File{l.f, l.state}
}

// Release gives the locks back.
func (l *Lock) Release() {
	for _, f := range l.files() {
		f.Close()
	}
}

// process is who holds a lock.
type process struct {
	pid    int    // 0: not known
	config string // the file it runs by
}

// Holder tells which process is the daemon of a file: 0 and false when none is, 0
// and true when one is that is not known. One whose control socket is another
// by now, since the file was changed, is found by its state_dir.
func (p Place) Holder() (pid int, running bool) {
	if pid, is := p.ControlHolder(); is {
		return pid, true
	}
	if path := stateLockPath(p.StateDir); path != "" {
		if who, is := holder(path); is && who.config == p.config {
			return who.pid, true
		}
	}
	return 0, false
}

// ControlHolder tells the same of the control socket alone.
func (p Place) ControlHolder() (pid int, running bool) {
	who, is := holder(lockPath(p.Control))
	return who.pid, is
}

func holder(path string) (who process, held bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return process{}, false
	}
	defer f.Close()
	l := wholeFile()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err == nil && l.Type == unix.F_UNLCK {
		return process{}, false
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 8192))
	if err != nil {
		return process{}, true
	}
	pid, rest, _ := strings.Cut(string(b), "\n")
	who.pid, _ = strconv.Atoi(pid)
	who.config = strings.TrimSuffix(rest, "\n")
	return who, true
}

// AwaitEnd waits until there is no daemon, and reports false when that takes
// longer than the patience.
func (p Place) AwaitEnd(patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, running := p.Holder(); !running {
			return true
		}
	}
	return false
}
