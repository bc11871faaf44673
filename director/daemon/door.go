package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/control"
)

// door is where the daemon is found: the control socket, and the locks that say
// whose it is. What somebody removes of it is made anew.
type door struct {
	log   *slog.Logger
	lock  *Lock
	group string // that may read; empty: this user only

	mu      sync.Mutex // of the rest and of lock, once an upgrade or tend may come; kept by a process that handed it over
	socket  *net.UnixListener
	at      os.FileInfo // what the path leads to while nobody touches it
	trouble string      // as said
}

// doorEvery is how often one looks whether it is still there.
const doorEvery = 500 * time.Millisecond

// open makes the control socket, or takes that of the process before.
func (d *door) open(h *heir) error {
	if h == nil {
		return d.bind()
	}
	d.socket = h.socket
	d.at, _ = os.Lstat(d.path()) // gone: run makes it anew
	return nil
}

func (d *door) path() string { return d.lock.place.Control }

// bind makes the socket: mode 0660, of the group that may read. The lock is ours, so
// one that is there is a dead one's.
func (d *door) bind() error {
	path := d.path()
	if err := removeSocket(path); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err = os.Chmod(path, 0o660); err == nil {
		d.at, err = os.Lstat(path)
	}
	if err != nil {
		l.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	d.share(path)
	d.socket = l
	return nil
}

// removeSocket takes a dead daemon's socket away, and nothing else: a slip in
// control must not cost a file.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is there already and is no socket", path)
	}
	return os.Remove(path)
}

// share gives the socket, and its folder, to the group of the file. A machine
// without that group keeps it to us.
func (d *door) share(path string) {
	if d.group == "" {
		return
	}
	g, err := user.LookupGroup(d.group)
	if err != nil {
		d.log.Info("the control socket is for this user only", "event", "control_group", "group", d.group, "err", err)
		return
	}
	gid, err := strconv.Atoi(g.Gid)
	if err == nil {
		err = os.Chown(path, -1, gid)
	}
	if err == nil && filepath.Dir(path) == "/run/goipvs" {
		err = os.Chown(filepath.Dir(path), -1, gid)
	}
	if err != nil && gid != os.Getegid() {
		d.log.Warn("the control socket is for this user only", "event", "control_group", "group", d.group, "err", err)
	}
}

// run makes anew what is removed, until ctx ends. Without it nobody could ask the
// daemon for anything, stop it by its verbs, or be told that it runs.
func (d *door) run(ctx context.Context, s *control.Server) {
	every(ctx, doorEvery, func() {
		if d.mu.TryLock() { // else an upgrade hands it over as it is
			defer d.mu.Unlock()
			d.tend(s)
		}
	})
}

func (d *door) tend(s *control.Server) {
	text := ""
	if err := d.remake(s); err != nil {
		text = err.Error()
	}
	if text != d.trouble && text != "" {
		d.log.Error(director.ControlFailed.Brief, "event", director.ControlFailed.Name, "err", text)
	}
	d.trouble = text
}

func (d *door) remake(s *control.Server) error {
	if err := d.lock.renew(); err != nil {
		return err
	}
	if now, err := os.Lstat(d.path()); err == nil && d.at != nil && os.SameFile(now, d.at) {
		return nil
	}
	if err := d.bind(); err != nil {
		return err
	}
	s.Move(d.socket)
	d.log.Warn(director.ControlRemade.Brief, "event", director.ControlRemade.Name, "path", d.path())
	return nil
}
