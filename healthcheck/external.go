package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// external runs the operator's own program with ldirectord's four arguments
// after its own, unless it is to be bare: address (or firewall mark) and port of
// the virtual service, address and port of the real server. Exit status 0 is up,
// and of one that weighs each but 1, as with keepalived's misc_dynamic. It runs without a
// shell, in a process group of its own that is killed at the deadline.
func external(c Check) (look, error) {
	if len(c.Command) == 0 {
		return nil, errors.New("no command")
	}
	path, err := exec.LookPath(c.Command[0])
	if err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	if err := c.Confine.Trust(path); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	var undead sync.Map // targets whose program outlived its check
	return func(ctx context.Context, d *Dialer) error {
		d.Stage("waiting for the command")
		if _, still := undead.Load(d.Target); still {
			return fmt.Errorf("%w: the command of an earlier check was killed and has still not ended", ErrTimeout)
		}
		args := c.Command
		if !c.Bare {
			args = slices.Concat(c.Command, arguments(d.Target))
		}
		d.Note("run %s", strings.Join(args, " "))
		undead.Store(d.Target, true)
		out, err := command(ctx, c.Confine, path, args, environment(d.Target), func() { undead.Delete(d.Target) })
		if len(out) > 0 {
			d.transcript.received(out)
		}
		if c.Weighs {
			if status, says := weighs(err); says {
				d.weight = Weight{true, int32(status - 2)}
				return nil
			}
		}
		return outcome(out, err)
	}, nil
}

// weighs tells whether a program's end is a status that says a weight.
func weighs(err error) (status int, says bool) {
	var exit *exitError
	if !errors.As(err, &exit) || !exit.state.Exited() {
		return 0, false
	}
	status = exit.state.ExitCode()
	return status, status >= 2
}

// arguments are ldirectord's.
func arguments(t Target) []string {
	virtual := strconv.FormatUint(uint64(t.FWMark), 10)
	if t.Virtual.IsValid() {
		virtual = t.Virtual.Addr().String()
	}
	return []string{virtual, strconv.Itoa(int(t.Virtual.Port())), t.Real.Addr().String(), strconv.Itoa(int(t.Real.Port()))}
}

// environment is all that the program gets: nothing of the daemon's own, which
// may hold secrets, beside what programs can expect.
func environment(t Target) []string {
	a := arguments(t)
	env := []string{
		"GOIPVS_VIRTUAL=" + a[0], "GOIPVS_VIRTUAL_PORT=" + a[1],
		"GOIPVS_REAL=" + a[2], "GOIPVS_REAL_PORT=" + a[3],
		"GOIPVS_PROTOCOL=" + t.Protocol, "GOIPVS_FWMARK=" + strconv.FormatUint(uint64(t.FWMark), 10),
	}
	for _, name := range []string{"PATH", "HOME", "HOSTNAME", "LANG", "LC_ALL", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// outcome is the reason that the program's end stands for: its last line.
func outcome(out []byte, err error) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return fmt.Errorf("%w: %s", err, head([]byte(last), 200))
	}
	return err
}

// onlyOf refuses a program that others than some users could replace: it and
// every folder above it, with links resolved, must be writable by those alone:
// root, us, and whom it runs as. In a sticky folder nobody can replace the files
// of others.
func onlyOf(trusted []int, path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for at := real; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		if err := mayTrust(trusted, at, info); err != nil {
			return err
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func mayTrust(trusted []int, path string, info os.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && !slices.Contains(trusted, int(st.Uid)) {
		return fmt.Errorf("%s belongs to another user (%d), who could put another program there", path, st.Uid)
	}
	sticky := info.IsDir() && info.Mode()&os.ModeSticky != 0
	if info.Mode().Perm()&0o022 != 0 && !sticky {
		return fmt.Errorf("%s can be written by others (mode %v): chmod go-w", path, info.Mode())
	}
	return nil
}

// exitError is the end of a program that says its server is not well.
type exitError struct{ state *os.ProcessState }

func (e *exitError) Error() string { return "the command ended with " + e.state.String() }

// command runs a program until it ends or ctx does, and then kills what is left
// of its process group. It returns at most maxOutput of what was printed. A
// program that does not even end when it is killed, as one that hangs in a dead
// file system, is left to itself. When it has ended, ended is called.
func command(ctx context.Context, as Confinement, path string, args, env []string, ended func()) ([]byte, error) {
	r, w, err := os.Pipe()
	if err != nil {
		ended()
		return nil, ours(err)
	}
	defer r.Close()
	cmd := &exec.Cmd{Path: path, Args: args, Env: env, Dir: "/", Stdout: w, Stderr: w, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	wait, err := as.Start(cmd)
	w.Close()
	if err != nil {
		ended()
		return nil, ours(fmt.Errorf("start the command: %w", err))
	}
	printed := collect(r)
	reaped := make(chan error, 1)
	go reap(ctx, cmd, wait, reaped, ended)
	select {
	case err = <-reaped:
	case <-ctx.Done():
		err = afterKill(ctx, reaped)
	}
	r.SetReadDeadline(time.Now().Add(grace)) // who left the group may hold the pipe
	return <-printed, err
}

// grace is how long a program may take to end that was killed.
const grace = 100 * time.Millisecond

// reap waits for the program's end, and kills its group then or when ctx ends.
func reap(ctx context.Context, cmd *exec.Cmd, wait func() error, reaped chan<- error, ended func()) {
	defer ended()
	group := -cmd.Process.Pid
	stop := context.AfterFunc(ctx, func() { unix.Kill(group, unix.SIGKILL) })
	awaitExit(cmd.Process.Pid)
	killed := !stop()
	unix.Kill(group, unix.SIGKILL) // its id is still held by the one we have not waited for
	_ = wait()
	switch {
	case killed:
		reaped <- ctx.Err()
	case !cmd.ProcessState.Success():
		reaped <- &exitError{cmd.ProcessState}
	default:
		reaped <- nil
	}
}

func afterKill(ctx context.Context, reaped <-chan error) error {
	select {
	case err := <-reaped:
		return err
	case <-time.After(grace):
		return ctx.Err()
	}
}

// awaitExit waits for the end of a child without taking its id from the kernel,
// so that its group can still be killed and is nobody else's.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

const maxOutput = 4 << 10

// collect reads to the end and keeps the beginning.
func collect(r *os.File) <-chan []byte {
	done := make(chan []byte, 1)
	go func() {
		var kept []byte
		buf := make([]byte, maxOutput)
		for {
			n, err := r.Read(buf)
			kept = append(kept, buf[:min(n, maxOutput-len(kept))]...)
			if err != nil {
				done <- kept
				return
			}
		}
	}()
	return done
}
