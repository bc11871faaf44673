package boot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// WatchName is the name, argv[0], by which the lab command starts itself as
// the watcher.
const WatchName = "lab-watch"

// The watcher's file descriptors 0 to 2 and from 4 on are the kernel's. This
// one is a pipe that ends when the lab command is gone.
const lifeline = 3

// Watch runs the command args[1:] until it ends or the lifeline does, kills
// every process of its process group, and removes the folder args[0]. It
// returns the exit status of the command, 128 + signal for a signal. SIGQUIT is
// passed on, other signals end it.
//
// It exists because a user-mode kernel leaves stopped children behind when it
// is killed, and SIGKILL gives the lab command no time to care for them.
func Watch(args []string) int {
	runtime.LockOSThread() // Pdeathsig is sent when the thread that forked ends
	dir, argv := args[0], args[1:]
	defer os.RemoveAll(dir)
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	unix.CloseOnExec(lifeline)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)

	cmd := exec.Cmd{
		Path: argv[0], Args: argv, Env: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		ExtraFiles:  inherited(),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL},
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 127
	}
	gone := make(chan struct{})
	go func() {
		_, _ = os.NewFile(lifeline, "lifeline").Read(make([]byte, 1))
		close(gone)
	}()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()

	for ended := false; ; {
		var err error
		select {
		case err = <-done:
			ended = true
		case <-gone:
		case sig := <-signals:
			if sig == unix.SIGQUIT {
				_ = cmd.Process.Signal(sig)
				continue
			}
		}
		killGroup(cmd.Process.Pid)
		if !ended {
			err = <-done
		}
		reapAll()
		return status(err)
	}
}

// inherited are the channels: all descriptors after the lifeline. They keep
// their numbers, so the lifeline's place is filled with /dev/null.
func inherited() []*os.File {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil
	}
	files := []*os.File{null}
	for fd := lifeline + 1; ; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || fd >= int(null.Fd()) {
			return files
		}
		files = append(files, os.NewFile(uintptr(fd), "channel"))
	}
}

// killGroup kills the process group; its processes may be stopped or traced.
func killGroup(pgid int) { _ = unix.Kill(-pgid, unix.SIGKILL) }

// reapAll waits for the orphans of the group.
func reapAll() {
	for {
		_, err := unix.Wait4(-1, nil, 0, nil)
		if err != nil && err != unix.EINTR {
			return
		}
	}
}

// status is the exit status of a command that ended with err.
func status(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return 127
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}
