package testserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to start on a busy machine.
const patience = 150 * time.Second

// A Program is a server to run, in the foreground.
type Program struct {
	Path string // a name in PATH or the sbin folders, or a path
	Args []string
	Env  []string // beside the test's own
	Dir  string   // working directory; "": the test's
	User string   // run as this user, as some servers refuse to be root; "" or not root: as we are

	// Quit asks a server to end before it is killed, if it would leave something
	// behind otherwise, such as shared memory. 0: killed at once.
	Quit syscall.Signal
}

// A Process is a running server.
type Process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	quit   syscall.Signal
	output Buffer
	ended  chan struct{}
}

// Start starts a server. It and all that it starts end with the test, or with
// the test's process however that ends. What it printed is logged when the test
// fails.
func Start(t testing.TB, p Program) *Process {
	t.Helper()
	path, err := find(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, p.Args...)
	cmd.Env, cmd.Dir = append(os.Environ(), p.Env...), p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, Credential: credential(t, p.User)}
	s := &Process{t: t, name: p.Path, cmd: cmd, quit: p.Quit, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	cmd.WaitDelay = time.Second // its children may hold the pipe
	started := make(chan error)
	go s.run(started)
	if err := <-started; err != nil {
		t.Fatalf("testserver: start %s: %v", p.Path, err)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", s.name, s.Output())
		}
	})
	return s
}

// Run runs a program to its end, as one that sets up a server's files does, and
// fails the test unless it succeeds.
func Run(t testing.TB, p Program) {
	t.Helper()
	path, err := find(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, p.Args...)
	cmd.Env, cmd.Dir = append(os.Environ(), p.Env...), p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t, p.User)}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("testserver: %s: %v\n%s", p.Path, err, out)
	}
}

// run keeps one thread for the life of the process: the kernel sends the
// death signal when the thread that started it ends.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.cmd.Wait()
	}
}

// Stop ends the server's process group and waits for its end.
func (p *Process) Stop() {
	if p.quit != 0 {
		p.SignalGroup(syscall.SIGCONT) // it may be frozen
		p.Signal(p.quit)
		select {
		case <-p.ended:
		case <-time.After(patience):
		}
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// Signal sends a signal to the server alone.
func (p *Process) Signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

// SignalGroup sends a signal to the server and all that it started.
func (p *Process) SignalGroup(s syscall.Signal) error { return syscall.Kill(-p.cmd.Process.Pid, s) }

// Pid is the server's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output is what the server printed so far.
func (p *Process) Output() string { return p.output.String() }

// Await waits until ready returns nil, and fails the test when the server ends
// first or never becomes ready.
func (p *Process) Await(ready func() error) {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-p.ended:
			p.t.Fatalf("testserver: %s ended: %v\n%s", p.name, p.cmd.ProcessState, p.Output())
		case <-end:
			p.t.Fatalf("testserver: %s is not ready: %v\n%s", p.name, err, p.Output())
		case <-tick.C:
		}
	}
}

// AwaitPort waits until the server accepts TCP connections on 127.0.0.1.
func (p *Process) AwaitPort(port uint16) {
	p.t.Helper()
	p.Await(func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// find looks for a program also where only root looks.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("testserver: no program %s: is its package in testserver.Need?", name)
}

func credential(t testing.TB, name string) *syscall.Credential {
	t.Helper()
	if name == "" || os.Getuid() != 0 {
		return nil
	}
	uid, gid := ids(t, name)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func ids(t testing.TB, name string) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatalf("testserver: %v", err)
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid
}
