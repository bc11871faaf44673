package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director"
	"golang.org/x/sys/unix"
)

// heir is what a process has of the one whose place it is to take, see the
// steps of an upgrade.
type heir struct {
	*wire
	lock   *os.File
	state  *os.File // the lock in state_dir; nil: the process before had none
	socket *net.UnixListener
	files  []*os.File // listening sockets of full NAT
	known  *director.Knowledge
	told   bool // the process before has said what it knows
}

// inherit tells whether this process is one that takes another's place.
func inherit() (*heir, error) {
	text, is := os.LookupEnv(handoverEnv)
	if !is {
		return nil, nil
	}
	_ = os.Unsetenv(handoverEnv)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is no descriptor", handoverEnv, text)
	}
	unix.CloseOnExec(fd)
	w, err := newWire(os.NewFile(uintptr(fd), "handover"))
	if err != nil {
		return nil, fmt.Errorf("%s=%q: %w", handoverEnv, text, err)
	}
	return &heir{wire: w}, nil
}

// greeted takes the lock and the control socket. When the process before is dead
// already they are free, and this one starts as any other.
func (d *Daemon) greeted() error {
	h := d.heir
	var m message
	files, err := h.receive(&m, d.patience(patienceStep))
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		h.close()
		d.heir = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("the process before: %w", err)
	}
	if m.Step != stepHello || m.Protocol != protocol || len(files) < 2 || len(files) > 3 {
		closeAll(files)
		return fmt.Errorf("the process before speaks version %d, this one %d: stop goipvsd and start it", m.Protocol, protocol)
	}
	h.lock = files[0]
	defer files[1].Close()
	if len(files) == 3 {
		h.state = files[2]
	}
	l, err := net.FileListener(files[1])
	if err != nil {
		return err
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return errors.New("the control socket is none")
	}
	h.socket = u
	return nil
}

// adopt holds the inherited lock against the file: the socket cannot be another
// one without a stop.
func (h *heir) adopt(c *config.Config, path string) (*Lock, error) {
	if !sameFile(h.lock, lockPath(c.Control)) {
		return nil, config.Errors{{File: path, Line: c.Lines["control"], Text: fmt.Sprintf("control = %q is not the socket of the process before", c.Control),
			Hint: "stop goipvsd and start it to change that"}}
	}
	l := &Lock{f: h.lock, place: placeOf(path, c)}
	if sameFile(h.state, stateLockPath(c.StateDir)) {
		l.state = h.state
		return l, nil
	}
	if h.state != nil { // state_dir is another one now
		defer h.state.Close()
	}
	return l, l.lockState()
}

func sameFile(f *os.File, path string) bool {
	if f == nil {
		return false
	}
	have, err := f.Stat()
	if err != nil {
		return false
	}
	want, err := os.Stat(path)
	return err == nil && os.SameFile(have, want)
}

// prepared says so and takes what the process before knows. When that has died
// meanwhile, what the state file has must do.
func (d *Daemon) prepared(saved *state) error {
	if err := d.heir.send(message{Step: stepPrepared}, d.patience(patienceStep)); err != nil {
		return d.orphaned(err)
	}
	d.step(stepPrepared)
	var m message
	files, err := d.heir.receive(&m, d.patience(2*patienceStep))
	if err != nil {
		return d.orphaned(err)
	}
	if m.Step != stepState || m.State == nil {
		closeAll(files)
		return fmt.Errorf("the process before says %q, not %s", m.Step, stepState)
	}
	d.heir.files, d.heir.known, d.heir.told = files, m.Known, true
	*saved = m.State.state()
	d.step("inherited")
	return nil
}

// orphaned: the process before has died, and its place is free. Any other
// error is one.
func (d *Daemon) orphaned(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the process before hung: %w", err)
	}
	d.log.Warn("the process before has died, this one goes on", "event", director.Orphaned.Name, "err", err)
	return nil
}

// takeOver is the last step: our director has the table, and now we take new
// connections.
func (d *Daemon) takeOver() error {
	h := d.heir
	defer h.close()
	if err := h.send(message{Step: stepReady}, d.patience(patienceStep)); err != nil {
		if err := d.orphaned(err); err != nil {
			return err
		}
	}
	d.step(stepReady)
	var m message
	files, err := h.receive(&m, d.patience(2*patienceStep))
	closeAll(files)
	switch {
	case err != nil:
		if err := d.orphaned(err); err != nil {
			return err
		}
		d.proxy.Restore(d.clients.load())
	case m.Step != stepGo || m.Clients == nil:
		return fmt.Errorf("the process before says %q, not %s", m.Step, stepGo)
	default:
		d.proxy.Restore(*m.Clients)
	}
	d.step("going")
	d.door.lock.mark()
	d.door.socket.SetUnlinkOnClose(true)
	d.proxy.Resume()
	d.step("resumed")
	if err == nil && h.send(message{Step: stepTaken}, d.patience(patienceStep)) == nil {
		_, _ = h.receive(&m, d.patience(patienceStep)) // its end of the wire closes when systemd knows us
	}
	d.notify.begin()
	return nil
}

// giveUp ends a process that does not take over: the table is not its business.
func (d *Daemon) giveUp() {
	_ = d.dir.Yield(func(director.Persistent, *director.Knowledge) bool { return true })
}

// failed tells the process before why this one ends.
func (h *heir) failed(err error) {
	_ = h.send(message{Step: stepFailed, Error: err.Error()}, patienceStep)
	h.close()
}

func (d *Daemon) isTurn() bool {
	select {
	case <-d.turn:
		return true
	default:
		return false
	}
}

// awaitTurn waits until this process is the one, and reports false when it will
// not be.
func (d *Daemon) awaitTurn(ctx context.Context) bool {
	select {
	case <-d.turn:
		return true
	case <-ctx.Done():
		return false
	}
}
