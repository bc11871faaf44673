package guest

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// runProgram runs the job's program to its end. Whatever the program left
// running is killed, so that the output has an end.
func runProgram(j *job.Job, ctl *control) (job.Ending, error) {
	p, err := newStdio(j)
	if err != nil {
		return job.Ending{}, err
	}
	fmt.Fprintln(os.Stderr, job.Booted)
	if err := ctl.say(job.Ready + "\n"); err != nil {
		return job.Ending{}, err
	}
	if err := os.Chdir(j.Dir); err != nil {
		return job.Ending{}, err
	}
	proc, err := os.StartProcess(j.Path, j.Args, &os.ProcAttr{
		Dir: j.Dir, Env: environment(j), Files: p.child[:], Sys: p.attr,
	})
	if err != nil {
		return job.Ending{}, fmt.Errorf("start program: %w", err)
	}
	p.closeChild()
	go ctl.obey(proc, p)
	status := reap(proc.Pid)
	_ = unix.Kill(-1, unix.SIGKILL) // everybody but us
	reap(-1)
	out, errs := p.wait()
	return job.Ending{Status: status, Out: out, Err: errs}, nil
}

// environment is the job's, with the two variables that are ours.
func environment(j *job.Job) []string {
	var env []string
	for _, kv := range j.Env {
		if !strings.HasPrefix(kv, "TMPDIR=") && !strings.HasPrefix(kv, "GOIPVS_LAB=") {
			env = append(env, kv)
		}
	}
	return append(env, "TMPDIR="+tempDir, "GOIPVS_LAB="+j.Kind)
}

// reap waits for children, orphans among them, until pid has ended, and tells
// its exit status. With pid -1 it waits until no child is left.
func reap(pid int) int {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0 // ECHILD
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal())
		case got == pid:
			return ws.ExitStatus()
		}
	}
}

// stdio is the program's stdin, stdout and stderr and the way from them to the
// host.
type stdio struct {
	child  [3]*os.File
	attr   *syscall.SysProcAttr
	master *os.File // of the terminal, if there is one
	done   []chan int64
}

func newStdio(j *job.Job) (*stdio, error) {
	if j.TTY {
		return newTerminal(j)
	}
	p := &stdio{}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	p.child[0] = null
	for i, dev := range []string{j.Out, j.Err} {
		ch, err := openChannel(dev)
		if err != nil {
			return nil, err
		}
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		p.child[i+1] = w
		p.done = append(p.done, relay(ch, r))
	}
	return p, nil
}

// relay copies until the last writer is gone, then tells how much it was.
func relay(to, from *os.File) chan int64 {
	done := make(chan int64, 1)
	go func() {
		n, _ := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 64<<10))
		drain(to)
		done <- n
	}()
	return done
}

func (p *stdio) closeChild() {
	for i, f := range p.child {
		if i == 0 || f != p.child[i-1] {
			f.Close()
		}
	}
}

// wait returns once everything the program wrote is on its way.
func (p *stdio) wait() (out, errs int64) {
	out = <-p.done[0]
	if len(p.done) > 1 {
		errs = <-p.done[1]
	}
	return out, errs
}
