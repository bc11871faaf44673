package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/goipvs/goipvs/director"
	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/fullnat"
	"golang.org/x/sys/unix"
)

// An upgrade has another process take the place of this one:
//
//	old   starts the new program, goes on             hello: lock, control socket
//	new   reads the file, makes ready                 prepared, or failed
//	old   holds its director still                    state: what is known, listening sockets
//	new   its director takes over the table           ready
//	old   takes no new connections                    go: clients' servers, counters
//	new   takes new connections                       taken
//	old   tells systemd, lets connections finish, ends
//
// Up to taken the new process is killed when anything goes wrong, or takes too
// long, and the old one goes on: nothing was sent to the new one that it could
// lose. An old one that dies meanwhile closes its end, and the new one goes on
// with what it has.

// protocol is the version of the messages. Two versions that differ in it cannot
// follow each other without a stop.
const protocol = 1

// message is what the two tell each other.
type message struct {
	Step     string              `json:"step"`
	Protocol int                 `json:"protocol,omitempty"`
	Error    string              `json:"error,omitempty"`
	State    *stateJSON          `json:"state,omitempty"`
	Known    *director.Knowledge `json:"known,omitempty"`
	Clients  *fullnat.State      `json:"clients,omitempty"`
}

// The steps, in their order.
const (
	stepHello    = "hello"
	stepPrepared = "prepared"
	stepFailed   = "failed" // the new one's, and why
	stepState    = "state"
	stepReady    = "ready"
	stepGo       = "go"
	stepTaken    = "taken"
)

// Patience with the other process at its steps.
const (
	patienceStart = time.Minute // names are resolved, files of checks are read
	patienceStep  = 20 * time.Second
)

func (d *Daemon) patience(p time.Duration) time.Duration {
	if d.o.Patience > 0 {
		return d.o.Patience
	}
	return p
}

// errUpgrading: there can be one at a time.
var errUpgrading = &control.Error{Code: control.Busy, Message: "an upgrade is under way"}

// upgradeVerb answers when the new process has taken over, or has not.
func (d *Daemon) upgradeVerb(_ context.Context, _ control.Peer, args []byte) (any, error) {
	if err := arguments(args, &struct{}{}); err != nil {
		return nil, err
	}
	pid, err := d.upgrade()
	if err != nil {
		return nil, err
	}
	return control.Upgraded{PID: pid, Was: os.Getpid()}, nil
}

// upgrade has a new process take over. On an error this one goes on as if
// nothing had been asked.
func (d *Daemon) upgrade() (pid int, err error) {
	if !d.upgrading.CompareAndSwap(false, true) {
		return 0, errUpgrading
	}
	defer d.upgrading.Store(false)
	d.log.Info(director.Upgrading.Brief, "event", director.Upgrading.Name, "program", d.o.Program.Path)
	d.door.mu.Lock()
	s, err := d.tryUpgrade()
	if err != nil {
		d.door.mu.Unlock() // otherwise it is no longer ours to look after
		d.log.Error(director.UpgradeFailed.Brief, "event", director.UpgradeFailed.Name, "err", err)
		return 0, fmt.Errorf("upgrade: %w; process %d goes on", err, os.Getpid())
	}
	return s, nil
}

func (d *Daemon) tryUpgrade() (pid int, err error) {
	if d.o.Program.Path == "" {
		return 0, errors.New("it is not known what program to start")
	}
	var failed error
	s, err := spawn(d.o.Program)
	if err != nil {
		return 0, err
	}
	defer s.close()
	stop := context.AfterFunc(d.life, s.giveUp)
	defer stop()
	d.step("spawned")
	if err := d.greet(s); err != nil {
		s.kill()
		return 0, err
	}
	taken := false
	err = d.dir.Yield(func(p director.Persistent, k *director.Knowledge) bool {
		if err := d.handOver(s, p, k); err != nil {
			s.kill()
			d.takeBack()
			failed = err
			return false
		}
		taken = true
		d.handedOver(s)
		return true
	})
	switch {
	case taken:
		return s.pid, nil
	case failed != nil:
		return 0, failed
	}
	s.kill()
	return 0, err
}

// handedOver is the end of our time as the daemon: the lock, the control socket
// and systemd's attention are the new process's.
func (d *Daemon) handedOver(s *successor) {
	d.step(stepTaken)
	d.server.Leave()
	d.door.lock.Release()
	d.notify.handOver(s.pid)
	d.log.Info(director.Upgraded.Brief, "event", director.Upgraded.Name, "pid", s.pid, "connections", d.proxy.Conns())
}

// greet waits until the new process is prepared.
func (d *Daemon) greet(s *successor) error {
	socket, err := d.door.socket.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	lock := d.door.lock
	files := []*os.File{lock.f, socket}
	if lock.state != nil {
		files = append(files, lock.state)
	}
	if err := s.tell(message{Step: stepHello, Protocol: protocol}, d.patience(patienceStep), files...); err != nil {
		return err
	}
	d.step(stepHello)
	return s.expect(stepPrepared, d.patience(patienceStart))
}

// tell sends a step to the new process.
func (s *successor) tell(m message, patience time.Duration, files ...*os.File) error {
	if s.gaveUp.Load() {
		return errStopping
	}
	err := s.send(m, patience, files...)
	if errors.Is(err, unix.EPIPE) {
		return fmt.Errorf("the new process ended before it heard %q; its own words are in the log", m.Step)
	}
	return err
}

// errStopping: who stops is not upgraded.
var errStopping = errors.New("goipvsd is stopping")

// giveUp ends the waiting for the new process.
func (s *successor) giveUp() {
	s.gaveUp.Store(true)
	_ = s.conn.SetDeadline(time.Unix(1, 0))
}

// expect waits for a step of the new process.
func (s *successor) expect(step string, patience time.Duration) error {
	var m message
	files, err := s.receive(&m, patience)
	closeAll(files)
	if s.gaveUp.Load() {
		return errStopping
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new process hung: after %v it was not %s", patience, step)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET):
		return fmt.Errorf("the new process ended before it was %s; its own words are in the log", step)
	case err != nil:
		return err
	case m.Step == stepFailed:
		return fmt.Errorf("the new process: %s", m.Error)
	case m.Step != step:
		return fmt.Errorf("the new process is %q, not %s", m.Step, step)
	}
	return nil
}

// handOver gives the new process everything. The director holds still.
func (d *Daemon) handOver(s *successor, p director.Persistent, k *director.Knowledge) error {
	d.step("yielded")
	state := stateFile(d.saver.retire(p))
	state.Services, state.Rules = d.proxy.Table(), d.commanded.rules()
	listeners := d.proxy.Listeners()
	err := s.tell(message{Step: stepState, State: &state, Known: k}, d.patience(patienceStep), listeners...)
	closeAll(listeners)
	if err != nil {
		return err
	}
	d.step(stepState)
	if err := s.expect(stepReady, d.patience(patienceStep)); err != nil {
		return err
	}
	d.proxy.Pause()
	clients := d.proxy.State()
	d.step("paused")
	if err := s.tell(message{Step: stepGo, Clients: &clients}, d.patience(patienceStep)); err != nil {
		return err
	}
	d.step(stepGo)
	return s.expect(stepTaken, d.patience(patienceStep))
}

// takeBack goes on after all.
func (d *Daemon) takeBack() {
	d.proxy.Resume()
	d.door.lock.mark()
	d.saver.goOn()
}

// bowOut lets the connections of this process finish, after another has taken
// over. A signal, or the end of the time for it, ends them.
func (d *Daemon) bowOut() {
	ctx, cancel := context.WithTimeout(context.Background(), d.config.UpgradeDrain)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- d.proxy.Drain(ctx) }()
	for {
		select {
		case err := <-drained:
			left := d.proxy.Conns()
			if err != nil {
				d.log.Warn("connections are cut, their time after the upgrade is over", "event", director.UpgradeDrained.Name, "connections", left)
			} else {
				d.log.Info(director.UpgradeDrained.Brief, "event", director.UpgradeDrained.Name, "connections", left)
			}
			return
		case sig := <-d.o.Signals:
			if sig == unix.SIGTERM || sig == unix.SIGINT {
				cancel()
			}
		}
	}
}

// step tells tests how far we are.
func (d *Daemon) step(name string) {
	if d.o.Step != nil {
		d.o.Step(name)
	}
}
