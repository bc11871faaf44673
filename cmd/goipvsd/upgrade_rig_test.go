package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/director/daemon"
	"github.com/goipvs/goipvs/internal/testserver"
	"golang.org/x/sys/unix"
)

// The daemon of a test dies by kill -9 at a step of an upgrade, or waits there
// for ever: "old state" or "hang new ready". Which of the two it is the step
// tells: each has its own.
const (
	dieAtStep    = "GOIPVSD_TEST_STEP"
	stepPatience = "GOIPVSD_TEST_PATIENCE"
)

// dieAt does what a file says, so that a test can change it while daemons run.
func dieAt(file string) func(string) {
	if file == "" {
		return nil
	}
	return func(step string) {
		b, err := os.ReadFile(file)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(b)) {
			what, at, _ := strings.Cut(strings.TrimSpace(line), " ")
			if at != step {
				continue
			}
			if what == "hang" {
				select {}
			}
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		}
	}
}

func testPatience(text string) time.Duration {
	d, _ := time.ParseDuration(text)
	return d
}

// house is a machine without a network of its own: goipvsd serves full NAT in
// user space on loopback addresses, as its processes follow each other.
type house struct {
	testing.TB
	dir      string
	tcp, udp string // virtual addresses
	log      *os.File
	env      []string
	web      string // the echoing real server
	dns      string

	mu    sync.Mutex
	ended map[int]chan struct{}
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{TB: t, dir: t.TempDir(), ended: make(map[int]chan struct{})}
	f, err := os.Create(h.path("log"))
	h.must(err)
	h.log = f
	self, err := os.Executable()
	h.must(err)
	h.must(os.Symlink(self, h.path("goipvsd")))
	h.web, h.dns = echoTCP(t), echoUDP(t)
	h.tcp, h.udp = freeAddress(t), freeAddress(t)
	h.file("")
	t.Cleanup(func() {
		h.killAll()
		if t.Failed() {
			t.Logf("log of goipvsd:\n%s", h.said())
		}
		f.Close()
	})
	return h
}

// holder is the process that has the lock.
func (h *house) holder() (pid int, running bool) {
	place, err := daemon.PlaceOf(h.path("goipvs.toml"))
	h.must(err)
	return place.Holder()
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) said() string {
	b, _ := os.ReadFile(h.path("log"))
	return string(b)
}

// file writes goipvs.toml: a web service and a name service, with more before
// them.
func (h *house) file(head string) {
	h.Helper()
	text := fmt.Sprintf(`control = %q
control_group = ""
state_dir = %q
without_ipvs = "fullnat"
%s
[timeouts]
udp = "3s"
[check]
interval = "200ms"
timeout = "20s"
[[virtual]]
name = "web"
address = %q
scheduler = "rr"
forward = "fullnat"
[virtual.check]
type = "connect"
[[virtual.real]]
address = %q
[[virtual]]
name = "dns"
address = %q
protocol = "udp"
scheduler = "rr"
forward = "fullnat"
[virtual.check]
type = "on"
[[virtual.real]]
address = %q
`, h.path("sock"), h.path("state"), head, h.tcp, h.web, h.udp, h.dns)
	h.must(os.WriteFile(h.path("goipvs.toml"), []byte(text), 0o600))
}

// start runs the first daemon until it serves.
func (h *house) start() int {
	h.Helper()
	pid := h.launch()
	h.awaitServing()
	return pid
}

func (h *house) launch() int {
	h.Helper()
	cmd := exec.Command(h.path("goipvsd"), "-c", h.path("goipvs.toml"))
	cmd.Env = append(append(os.Environ(), asDaemon+"=1", dieAtStep+"="+h.path("step")), h.env...)
	cmd.Stdout, cmd.Stderr = h.log, h.log
	h.must(cmd.Start())
	h.watch(cmd.Process.Pid)
	return cmd.Process.Pid
}

// watch reaps a process: they are all our children, see spawn.
func (h *house) watch(pid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended[pid] != nil {
		return
	}
	done := make(chan struct{})
	h.ended[pid] = done
	go func() {
		defer close(done)
		var st unix.WaitStatus
		for {
			if _, err := unix.Wait4(pid, &st, 0, nil); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
}

// ends waits for the end of a process.
func (h *house) ends(pid int) {
	h.Helper()
	h.mu.Lock()
	done := h.ended[pid]
	h.mu.Unlock()
	select {
	case <-done:
	case <-time.After(patience):
		h.Fatalf("process %d does not end", pid)
	}
}

func (h *house) running(pid int) bool {
	h.mu.Lock()
	done := h.ended[pid]
	h.mu.Unlock()
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// children are the processes of the house that there are now.
func (h *house) children() (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) && strings.Contains(string(cmdline), h.dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (h *house) killAll() {
	for range 3 { // one may have been about to start another
		for _, pid := range h.children() {
			h.watch(pid)
			_ = unix.Kill(pid, unix.SIGKILL)
			h.ends(pid)
		}
	}
}

// await waits until something is so.
func (h *house) await(what string, f func() bool) {
	h.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// awaitServing waits until a client is served.
func (h *house) awaitServing() {
	h.Helper()
	h.await("the web service answers", func() bool { return echoOnce(h.tcp) == nil })
	h.await("the name service answers", func() bool {
		c, err := net.Dial("udp", h.udp)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second)) // the first may have found no server
		_, _ = c.Write([]byte("ping"))
		_, err = c.Read(make([]byte, 8))
		return err == nil
	})
}

func (h *house) do(verb string, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	c, err := control.Dial(ctx, h.path("sock"))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Do(ctx, verb, nil, result)
}

// upgrade is the operator's command; it returns its status and what it said.
func (h *house) upgrade() (status int, out string) {
	var o, e strings.Builder
	p := &program{args: []string{"goipvsd", "-c", h.path("goipvs.toml"), "upgrade"}, out: &o, errw: &e}
	status = p.run()
	return status, o.String() + e.String()
}

// ask asks for an upgrade as the command does, whatever the file says of the
// socket.
func (h *house) ask() (status int, out string) {
	var u control.Upgraded
	if err := h.do("upgrade", &u); err != nil {
		return failed, err.Error()
	}
	return ok, fmt.Sprint(u.PID)
}

// reap reaps what has ended of the processes but one.
func (h *house) reap(but int) {
	for _, pid := range h.children() {
		if pid != but {
			h.watch(pid)
		}
	}
}

// upgraded upgrades and returns the new process.
func (h *house) upgraded(old int) int {
	h.Helper()
	status, out := h.upgrade()
	var now, was int
	if _, err := fmt.Sscanf(out, "goipvsd: process %d has taken the place of process %d", &now, &was); status != ok || err != nil || was != old {
		h.Fatalf("upgrade: status %d: %s", status, out)
	}
	h.watch(now)
	h.await("the lock names the new process", func() bool { pid, is := h.holder(); return is && pid == now })
	return now
}

// descriptors of a process.
func descriptors(pid int) int {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list)
}

// freeAddress is one that nobody listens on until the test ends.
func freeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
}

// echoTCP is a server that says back what it hears.
func echoTCP(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { _, _ = io.Copy(c, c); c.Close() })
		}
	})
	return l.Addr().String()
}

func echoUDP(t testing.TB) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteTo(b[:n], from)
			}
		}
	}()
	return c.LocalAddr().String()
}

// echoOnce is a short connection: it must be served from its beginning to its
// end.
func echoOnce(to string) error {
	c, err := net.DialTimeout("tcp", to, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err != nil || string(b) != "ping" {
		return fmt.Errorf("%q came back: %w", b, err)
	}
	return nil
}
