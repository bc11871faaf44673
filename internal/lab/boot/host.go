package boot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/guest"
	"github.com/goipvs/goipvs/internal/lab/job"
	"github.com/goipvs/goipvs/internal/lab/kmod"
)

// ConsentEnv must be 1 for the host's own kernel to be used: tests load
// modules into it, and a fault in it is a fault of the machine.
const ConsentEnv = "GOIPVS_LAB_HOST_OK"

// runHost runs the program on the host's kernel, in a network namespace of its
// own, so that it sees no service and no address of the host.
func runHost(j *job.Job, o *Options) (int, error) {
	switch {
	case os.Getenv(ConsentEnv) != "1":
		return StatusFault, fmt.Errorf("LAB=host uses this machine's own kernel: say %s=1 if you mean it", ConsentEnv)
	case os.Geteuid() != 0:
		return StatusFault, errors.New("LAB=host needs root")
	}
	// The watcher is started from this thread and so inherits its namespace.
	// The thread is never unlocked: it must not serve other goroutines.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return StatusFault, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := guest.LoopbackUp(); err != nil {
		return StatusFault, err
	}
	if !o.NoLoad {
		if err := kmod.Request(o.Modules...); err != nil || !exists("/proc/thread-self/net/ip_vs") {
			return StatusFault, errors.New("this machine's kernel has no IPVS (module ip_vs): use LAB=uml or LAB=qemu")
		}
	}
	return hostSession(j, o)
}

func hostSession(j *job.Job, o *Options) (int, error) {
	dir, err := os.MkdirTemp("", "goipvs-lab-")
	if err != nil {
		return StatusFault, err
	}
	cmd, life, err := watcher(j.Self, dir, append([]string{j.Path}, j.Args[1:]...), nil)
	if err != nil {
		return StatusFault, err
	}
	if o.TTY { // the program must stay in the terminal's session
		cmd = &exec.Cmd{Path: j.Path, Args: j.Args, Stdin: o.Stdin}
	}
	cmd.Env = append(os.Environ(), "GOIPVS_LAB=host")
	cmd.Stdout, cmd.Stderr = o.Stdout, o.Stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return StatusFault, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	limit, expired := newLimit(o.Limit), false
	for {
		select {
		case err := <-done:
			if expired {
				return StatusTimeout, fmt.Errorf("time limit of %v reached while the program ran", o.Limit)
			}
			return status(err), nil
		case <-limit:
			if expired {
				life.Close()
				continue
			}
			expired, limit = true, time.After(dumpGrace)
			_ = cmd.Process.Signal(unix.SIGQUIT)
		case sig := <-signals:
			if !o.TTY { // else the terminal has sent it to the program too
				_ = cmd.Process.Signal(sig)
			}
		}
	}
}
