package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handoverEnv is the descriptor by which a process talks to the one before it.
const handoverEnv = "GOIPVSD_HANDOVER"

// Program is how to start goipvsd anew for an upgrade. Path is read again, so it
// should be where a new version is installed, not what runs now.
type Program struct {
	Path string
	Args []string // with the name
	Env  []string // nil: this process's
}

// successor is the process that is to take our place.
type successor struct {
	*wire
	pid    int
	pidfd  int
	gaveUp atomic.Bool // we stop
}

// spawn starts a successor. It is not our child but our parent's (CLONE_PARENT):
// systemd hears of its end then, as of ours, also while we are still there.
func spawn(p Program) (*successor, error) {
	if os.Getpid() == 1 {
		return nil, errors.New("process 1 ends its container: a new one has to be started")
	}
	ours, theirs, err := newWires()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	s := &successor{wire: ours, pidfd: -1}
	s.pid, err = syscall.ForkExec(p.Path, p.Args, &syscall.ProcAttr{
		Env:   successorEnv(p.Env),
		Files: []uintptr{0, 1, 2, theirs.Fd()},
		Sys:   &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT, PidFD: &s.pidfd},
	})
	if err != nil {
		ours.close()
		return nil, fmt.Errorf("start %s: %w", p.Path, err)
	}
	return s, nil
}

// successorEnv is our environment without what is about this very process.
func successorEnv(env []string) []string {
	if env == nil {
		env = os.Environ()
	}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", handoverEnv}, name)
	})
	return append(env, handoverEnv+"=3")
}

// kill ends the successor and waits until it has: it must not do anything any
// more.
func (s *successor) kill() {
	if s.pidfd < 0 {
		_ = unix.Kill(s.pid, unix.SIGKILL)
		return
	}
	_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}}, 1000)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (s *successor) close() {
	s.wire.close()
	if s.pidfd >= 0 {
		_ = unix.Close(s.pidfd)
	}
}
