package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"golang.org/x/sys/unix"
)

// container starts systemd as process 1 of a process and mount namespace, in
// which only the unit of the test runs. The network is the test's.
const container = `
mount --make-rprivate / && mount -t tmpfs tmpfs /run && umount -R -l /sys/fs/cgroup && mount -t tmpfs -o mode=755 tmpfs /dev && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 77
mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 || exit 77
mkdir -p /run/systemd/system /run/lock
cp "$1"/*.service "$1"/*.target /run/systemd/system/
export container=test
exec "$2" --system --unit=test.target --show-status=no
`

// manager is a real systemd that runs goipvsd for a house.
type manager struct {
	*house
	pid int // of systemd, as seen from outside
}

func newManager(h *house) *manager {
	h.Helper()
	systemd := "/usr/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil || os.Getuid() != 0 {
		h.Skip("needs root and systemd; TestFDStore holds the protocol against systemd's documentation")
	}
	h.must(os.MkdirAll(h.path("units"), 0o700))
	h.must(os.WriteFile(h.path("units/test.target"), []byte("[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\nWants=goipvsd.service\n"), 0o600))
	h.must(os.WriteFile(h.path("units/goipvsd.service"), []byte(h.unit()), 0o600))
	cmd := exec.Command("unshare", "--pid", "--mount", "--cgroup", "--fork", "--kill-child", "--mount-proc", "sh", "-c", container, "sh", h.path("units"), systemd)
	cmd.Stdout, cmd.Stderr = h.log, h.log
	h.must(cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	m := &manager{house: h}
	h.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		m.sweep()
	})
	h.await("systemd answers", func() bool {
		select {
		case <-ended:
			if cmd.ProcessState.ExitCode() == 77 {
				h.Skip("no namespaces or no cgroup2 here")
			}
			h.Fatalf("systemd ended: %v", cmd.ProcessState)
		default:
		}
		m.pid = childOf(cmd.Process.Pid)
		return m.pid != 0 && m.show("ActiveState") == "active"
	})
	return m
}

// unit is the one that is installed, as far as it tells systemd how to manage the
// service; who it may be and what it may see is another test's.
func (h *house) unit() string {
	b, err := os.ReadFile("../../contrib/systemd/goipvsd.service")
	h.must(err)
	manage := regexp.MustCompile(`(?m)^(Type|NotifyAccess|WatchdogSec|Restart\w*|KillMode|TimeoutStopSec|FileDescriptorStoreMax|StartLimit\w*)=.*\n`)
	return fmt.Sprintf("[Unit]\nDefaultDependencies=no\n[Service]\n%sEnvironment=%s=1 %s=%s\nExecStart=%s -c %s\nStandardError=append:%s\n",
		strings.Join(manage.FindAllString(string(b), -1), ""), asDaemon, dieAtStep, h.path("step"), h.path("goipvsd"), h.path("goipvs.toml"), h.path("log"))
}

func childOf(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// sweep removes the cgroups that systemd has made.
func (m *manager) sweep() {
	root, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	at := regexp.MustCompile(` (/\S+) \S+ (?:\S+ )*- cgroup2 `).FindSubmatch(root)
	if at == nil {
		return
	}
	for _, name := range []string{"system.slice/goipvsd.service", "system.slice", "init.scope"} {
		_ = os.Remove(filepath.Join(string(at[1]), name)) // only when nothing is in it
	}
}

func (m *manager) systemctl(args ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(m.pid), "-m", "-p", "systemctl"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *manager) show(property string) string {
	out, _ := m.systemctl("show", "goipvsd", "--value", "-p", property)
	return out
}

func (m *manager) ctl(args ...string) {
	m.Helper()
	if out, err := m.systemctl(args...); err != nil {
		m.Fatalf("systemctl %q: %v: %s", args, err, out)
	}
}

// status is the daemon's; its process is that of the namespace.
func (m *manager) status() (st control.Status) {
	_ = m.do("status", &st)
	return st
}

// TestRealSystemd: systemd itself keeps the listening sockets over a restart and
// a crash, and follows an upgrade to the new process.
func TestRealSystemd(t *testing.T) {
	h := newHouse(t)
	m := newManager(h)
	h.awaitServing()
	kept := fmt.Sprint(2 * loops())
	h.await("systemd keeps the sockets", func() bool { return m.show("NFileDescriptorStore") == kept })

	load := newLoad(h)
	for range 3 {
		load.moves()
		was := m.status().PID
		if status, out := h.upgrade(); status != ok {
			t.Fatal(out)
		}
		h.await("systemd follows", func() bool {
			pid := m.status().PID
			return pid != was && pid != 0 && m.show("MainPID") == strconv.Itoa(pid) && m.show("ActiveState") == "active"
		})
	}
	load.moves()
	load.end()

	// Nobody is refused from here on, though connections that are established end
	// with their process, some before connect has told of them.
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			c, err := net.DialTimeout("tcp", h.tcp, patience)
			switch {
			case err == nil:
				c.Close()
			case !errors.Is(err, unix.ECONNRESET):
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	was := m.status().PID
	m.ctl("restart", "goipvsd")
	h.await("another process serves", func() bool { pid := m.status().PID; return pid != was && pid != 0 })
	h.awaitServing()
	was = m.status().PID
	m.ctl("kill", "--kill-who=main", "--signal=KILL", "goipvsd")
	h.await("another process serves", func() bool { pid := m.status().PID; return pid != was && pid != 0 })
	h.awaitServing()
	stop.Store(true)
	<-done
	if n := m.show("NRestarts"); n != "1" {
		t.Errorf("systemd has restarted it %s times, want once: for the crash", n)
	}
	if got := m.show("NFileDescriptorStore"); got != kept {
		t.Errorf("systemd keeps %s sockets, want %s", got, kept)
	}
	m.ctl("stop", "goipvsd")
	if c, err := net.Dial("tcp", h.tcp); err == nil {
		c.Close()
		t.Error("a service that was stopped takes connections")
	}
}

// loops is how many listening sockets a service has.
func loops() int {
	var may unix.CPUSet
	if unix.SchedGetaffinity(0, &may) != nil {
		return runtime.NumCPU()
	}
	return may.Count()
}
