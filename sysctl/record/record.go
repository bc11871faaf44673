package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is where records are.
const Dir = "/run/goipvs"

// Patience is how long Open waits for another program to be done.
const Patience = 10 * time.Second

// ErrBusy: another program has the record open for longer than Patience.
var ErrBusy = errors.New("another goipvs is at work on it")

// ErrForeign: others than root may have written the record.
var ErrForeign = errors.New("not a file of root's alone")

// File is an open record, locked until Close. It is for one goroutine.
type File struct {
	path string
	lock *os.File
	head head
}

// head says of what the content is a record.
type head struct {
	Boot  string `json:"boot"`  // /proc/sys/kernel/random/boot_id
	Netns uint64 `json:"netns"` // SO_NETNS_COOKIE: no two of a boot are equal
}

type document struct {
	head
	Content json.RawMessage `json:"content"`
}

// Open locks the record of the calling thread's network namespace and reads it
// into content, a pointer; a record that does not exist leaves it alone. The
// empty dir is Dir.
func Open(dir, name string, content any) (*File, error) {
	f, err := open(dir, name)
	if err != nil {
		return nil, fmt.Errorf("record: open %s of %s: %w", name, orDir(dir), err)
	}
	if err := f.load(content); err != nil {
		f.Close()
		return nil, fmt.Errorf("record: read %s: %w", f.path, err)
	}
	return f, nil
}

// Peek reads a record without locking or creating anything.
func Peek(dir, name string, content any) error {
	h, err := here()
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	f := &File{path: path(dir, name, h), head: h}
	if err := f.load(content); err != nil {
		return fmt.Errorf("record: read %s: %w", f.path, err)
	}
	return nil
}

func orDir(dir string) string {
	if dir == "" {
		return Dir
	}
	return dir
}

func path(dir, name string, h head) string {
	return filepath.Join(orDir(dir), fmt.Sprintf("%s.%d.json", name, h.Netns))
}

func open(dir, name string) (*File, error) {
	h, err := here()
	if err != nil {
		return nil, err
	}
	// Those who run the daemon may have made it with other rights: leave them.
	if err := os.MkdirAll(orDir(dir), 0o755); err != nil {
		return nil, err
	}
	f := &File{path: path(dir, name, h), head: h}
	f.lock, err = os.OpenFile(f.path+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f.lock); err != nil {
		return nil, errors.Join(err, f.lock.Close())
	}
	return f, nil
}

// flock waits: others hold the lock for some milliseconds.
func flock(f *os.File) error {
	deadline := time.Now().Add(Patience)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		case time.Now().After(deadline):
			return ErrBusy
		default:
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (f *File) load(content any) error {
	b, err := read(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	if d.head != f.head {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(d.Content))
	dec.DisallowUnknownFields() // of a newer goipvs: what we do not know we cannot undo
	return dec.Decode(content)
}

// read reads a file that nobody but us or root may have written: the folder may
// belong to the daemon's user, and what a record says is done as root.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Uid != 0 && int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return nil, ErrForeign
	}
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// Save replaces the content. Nil removes the record.
func (f *File) Save(content any) error {
	var err error
	if content == nil {
		if err = os.Remove(f.path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = f.replace(content)
	}
	if err != nil {
		return fmt.Errorf("record: save: %w", err)
	}
	return nil
}

func (f *File) replace(content any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(document{f.head, raw}, "", "  ")
	if err != nil {
		return err
	}
	next := f.path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return err
	}
	w, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return os.Rename(next, f.path)
}

// Close gives the lock back. The lock file stays: removing it would let two
// programs hold locks on different files.
func (f *File) Close() error { return f.lock.Close() }

// here identifies this boot and this network namespace.
func here() (h head, err error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return h, err
	}
	h.Boot = string(bytes.TrimSpace(b))
	h.Netns, err = cookie()
	return h, err
}

func cookie() (uint64, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(s)
	v, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if !errors.Is(err, unix.ENOPROTOOPT) {
		return v, err
	}
	var st unix.Stat_t // before Linux 5.14; a later namespace may get the number
	err = unix.Stat("/proc/thread-self/ns/net", &st)
	return st.Ino, err
}
