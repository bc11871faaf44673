package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/fullnat/tproxy"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// container starts systemd as process 1 of a process and mount namespace, in
// which only the unit of the test runs. The network is the test's. Users are made,
// and folders of services, where the machine does not have them.
const container = `
mount --make-rprivate / && mount -t tmpfs tmpfs /run && umount -R -l /sys/fs/cgroup && mount -t tmpfs -o mode=755 tmpfs /dev && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 77
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 ptmx:5:2; do (IFS=:; set -- $node; mknod -m 666 /dev/$1 c $2 $3) || exit 77; done
mkdir -p /dev/shm /dev/pts /run/systemd/system /run/lock /run/etc
cp -a /etc/. /run/etc && mount --bind /run/etc /etc && mount -t tmpfs -o mode=755 tmpfs /var/lib || exit 77
cp -r "$1"/. /run/systemd/system/
test ! -e "$1"/run || cp -rL "$1"/run /run/test
systemd-sysusers "$3" || exit 77
export container=test
exec "$2" --system --unit=test.target --show-status=no
`

// manager is a real systemd that runs goipvsd for a house.
type manager struct {
	*house
	pid int // of systemd, as seen from outside
}

// newManager has it run a unit.
func newManager(h *house, unit string) *manager {
	h.Helper()
	systemd := "/usr/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil || os.Getuid() != 0 {
		h.Skip("needs root and systemd; TestFDStore holds the protocol against systemd's documentation")
	}
	h.must(os.MkdirAll(h.path("units"), 0o700))
	h.must(os.WriteFile(h.path("units/test.target"), []byte("[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\nWants=goipvsd.service\n"), 0o600))
	h.must(os.WriteFile(h.path("units/goipvsd.service"), []byte(unit), 0o600))
	sysusers, err := filepath.Abs("../../contrib/systemd/goipvs.sysusers")
	h.must(err)
	cmd := exec.Command("unshare", "--pid", "--mount", "--cgroup", "--fork", "--kill-child", "--mount-proc", "sh", "-c", container, "sh", h.path("units"), systemd, sysusers)
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
	m := newManager(h, h.unit())
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

	m.nobodyIsRefused(h.tcp)
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

// nobodyIsRefused restarts goipvsd, and has it crash, while clients come to these
// addresses. Connections that are established end with their process, some before
// connect has told of them.
func (m *manager) nobodyIsRefused(addrs ...string) {
	m.Helper()
	var stop atomic.Bool
	var all sync.WaitGroup
	for _, addr := range addrs {
		all.Go(func() {
			for !stop.Load() {
				c, err := net.DialTimeout("tcp", addr, patience)
				switch {
				case err == nil:
					c.Close()
				case !errors.Is(err, unix.ECONNRESET):
					m.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	m.follows(func() { m.ctl("restart", "goipvsd") })
	m.follows(func() { m.ctl("kill", "--kill-who=main", "--signal=KILL", "goipvsd") })
	stop.Store(true)
	all.Wait()
}

// follows: another process serves after this one has been ended.
func (m *manager) follows(end func()) {
	m.Helper()
	was := m.status().PID
	end()
	m.await("another process serves", func() bool { pid := m.status().PID; return pid != was && pid != 0 })
	m.awaitServing()
}

// TestRealSystemdOOM: the kernel kills goipvsd for want of memory. Systemd starts it
// again, and clients that come meanwhile wait.
func TestRealSystemdOOM(t *testing.T) {
	h := newHouse(t)
	m := newManager(h, h.unit())
	h.awaitServing()
	group := memoryGroup(t)
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for !stop.Load() {
			c, err := net.DialTimeout("tcp", h.tcp, patience)
			if err != nil && !errors.Is(err, unix.ECONNRESET) {
				t.Error(err)
				return
			}
			if err == nil {
				c.Close()
			}
			time.Sleep(time.Millisecond)
		}
	})
	m.follows(func() {
		pid := m.outside(m.status().PID)
		h.must(os.WriteFile(group+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0))
		h.await("the kernel kills it", func() bool {
			var asking sync.WaitGroup
			for range 30 { // at once, so that they take memory
				asking.Go(func() { _ = h.do("status", nil) })
			}
			asking.Wait()
			b, _ := os.ReadFile(group + "/memory.oom_control")
			return !strings.Contains(string(b), "oom_kill 0")
		})
	})
	stop.Store(true)
	all.Wait()
	if n := m.show("NRestarts"); n != "1" {
		t.Errorf("systemd has restarted it %s times, want once", n)
	}
	m.ctl("stop", "goipvsd")
}

// memoryGroup is a group whose processes may take 256 KiB more than they have.
func memoryGroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(`(?m) (/\S+) \S+ (?:\S+ )*- cgroup \S+ \S*\bmemory\b`).FindSubmatch(mounts)
	if at == nil {
		t.Skip("no cgroup of memory of version 1, in which what a process has stays its old group's")
	}
	dir := filepath.Join(string(at[1]), fmt.Sprintf("goipvs-test-%d", os.Getpid()))
	err = os.Mkdir(dir, 0o755)
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err == nil {
		err = os.WriteFile(dir+"/memory.limit_in_bytes", []byte("256K"), 0)
	}
	if err != nil {
		t.Skip(err)
	}
	return dir
}

// outside is the number that a process of systemd's namespace has outside of it.
func (m *manager) outside(pid int) int {
	m.Helper()
	here, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", m.pid))
	m.must(err)
	all, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	for _, file := range all {
		if ns, err := os.Readlink(file); err != nil || ns != here {
			continue
		}
		dir := filepath.Dir(filepath.Dir(file))
		b, _ := os.ReadFile(dir + "/status")
		if regexp.MustCompile(fmt.Sprintf(`(?m)^NSpid:.*\s%d$`, pid)).Match(b) {
			n, err := strconv.Atoi(filepath.Base(dir))
			m.must(err)
			return n
		}
	}
	m.Fatalf("no process is %d in systemd's namespace", pid)
	return 0
}

// TestRealSystemdDiverted: systemd keeps the sockets of a firewall mark and of
// port 0, too, with the rules that bring packets to them, and forgets those of a
// service that leaves the file.
func TestRealSystemdDiverted(t *testing.T) {
	if !ownSpace(t) {
		return
	}
	if err := tproxy.Check(ipvs.IPv4); err != nil {
		t.Skip(err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	for _, a := range []string{"192.0.2.10/32", "192.0.2.12/32"} {
		vip, wrong := netlink.ParseAddr(a)
		err = errors.Join(err, wrong, netlink.AddrAdd(lo, vip))
	}
	if err != nil {
		t.Fatal(err)
	}
	markTo(t, netip.MustParseAddr("192.0.2.10"), 1)
	h := newHouse(t)
	web := netip.MustParseAddrPort(h.web)
	const service = "[[virtual]]\n%s\nscheduler = \"rr\"\nforward = \"fullnat\"\nunchecked = \"up\"\n[virtual.fullnat]\nplane = \"userspace\"\n[[virtual.real]]\naddress = %q\n"
	mark := fmt.Sprintf(service, "fwmark = 1", web)
	every := fmt.Sprintf(service, "address = \"192.0.2.12:0\"\npersistent = \"5m\"", web.Addr())
	h.file("max_removal = 1.0\n" + mark + every)
	m := newManager(h, h.unit())
	h.awaitServing()
	addrs := []string{"192.0.2.10:80", fmt.Sprintf("192.0.2.12:%d", web.Port())}
	served := func(addr string) bool {
		c, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintln(c, "hello")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return line == "hello\n"
	}
	all := func(when string) {
		t.Helper()
		for _, a := range addrs {
			h.await(a+" is served "+when, func() bool { return served(a) })
		}
	}
	all("at first")
	kept := func(sockets int) {
		t.Helper()
		h.await(fmt.Sprintf("systemd keeps %d sockets for each loop", sockets), func() bool {
			return m.show("NFileDescriptorStore") == fmt.Sprint(sockets*loops())
		})
	}
	kept(5) // a mark is of TCP and UDP
	m.nobodyIsRefused(addrs...)
	all("after a crash")
	kept(5)
	if said := h.said(); strings.Contains(said, "none of ours") || strings.Contains(said, "is not ours") {
		t.Error("sockets are not known again")
	}
	h.file("max_removal = 1.0\n" + every)
	m.ctl("kill", "--kill-who=main", "--signal=HUP", "goipvsd")
	kept(3)
	m.ctl("stop", "goipvsd")
	if c, err := net.Dial("tcp", addrs[1]); err == nil {
		c.Close()
		t.Error("a service that was stopped takes connections")
	}
}

// TestRealSystemdDrains: a stop that drains may take longer than the unit's
// TimeoutStopSec, as long as the drain of a service says.
func TestRealSystemdDrains(t *testing.T) {
	h := newHouse(t)
	h.file("on_stop = \"drain\"\ndrain = \"10m\"\n")
	const limit = time.Second
	m := newManager(h, regexp.MustCompile(`TimeoutStopSec=\w+`).ReplaceAllString(h.unit(), fmt.Sprintf("TimeoutStopSec=%v", limit)))
	h.awaitServing()
	c, err := net.Dial("tcp", h.tcp)
	h.must(err)
	defer c.Close()
	says := func(text string) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(patience))
		b := make([]byte, len(text))
		_, err := c.Write([]byte(text))
		h.must(err)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
			t.Fatalf("%q came back, %v\n%s", b, err, m.show("StatusText"))
		}
	}
	says("before")
	m.ctl("stop", "--no-block", "goipvsd")
	h.await("it is stopping", func() bool { return m.show("SubState") == "stop-sigterm" })
	began := time.Now()
	h.await("several times the limit is over", func() bool { return time.Since(began) > 4*limit && m.show("SubState") == "stop-sigterm" })
	says("while it stops")
	if text := m.show("StatusText"); !strings.Contains(text, "wait for the end of their connections, for at most") {
		t.Errorf("systemctl status: %q", text)
	}
	c.Close()
	h.await("it has stopped", func() bool { return m.show("SubState") == "dead" })
	if result := m.show("Result"); result != "success" {
		t.Errorf("result: %s", result)
	}
}

// TestRealSystemdChecks: under the unit that is installed a check's command runs
// as the daemon, and says what it lacks for limits and for another user; with the
// drop-in that is shipped it has both, and is ended at its deadline.
func TestRealSystemdChecks(t *testing.T) {
	h := newHouse(t)
	h.must(os.MkdirAll(h.path("units/run"), 0o755))
	self, err := os.Executable()
	h.must(err)
	h.must(os.Symlink(self, h.path("units/run/goipvsd")))
	h.must(os.WriteFile(h.path("units/run/check"), []byte("#!/bin/sh\necho $(id -un) $(ulimit -t) $(ulimit -v)\ntest \"$1\" != hang || exec sleep 1000\nexit 1\n"), 0o755))
	limits := "cpu_limit = \"7s\"\nmemory_limit = 512\n"
	var text strings.Builder
	text.WriteString("state_dir = \"/var/lib/goipvs\"\ncontrol_group = \"\"\nwithout_ipvs = \"fullnat\"\nhold_on_mass_failure = 1.0\n[check]\ninterval = \"500ms\"\ntimeout = \"20s\"\n")
	for name, check := range map[string]string{
		"plain": "", "limits": limits, "user": "user = \"nobody\"\n", "both": "user = \"nobody\"\n" + limits, "hang": "timeout = \"1s\"\nuser = \"nobody\"\n",
	} {
		fmt.Fprintf(&text, "[[virtual]]\nname = %q\naddress = %q\nforward = \"fullnat\"\n[virtual.check]\ntype = \"external\"\narguments = false\ncommand = [\"/run/test/check\", %[1]q]\n%[3]s[[virtual.real]]\naddress = %[4]q\n",
			name, freeAddress(t), check, h.web)
	}
	h.must(os.WriteFile(h.path("units/run/goipvs.toml"), []byte(text.String()), 0o644))
	shipped, err := os.ReadFile("../../contrib/systemd/goipvsd.service")
	h.must(err)
	const start = "ExecStart=/usr/sbin/goipvsd -c /etc/goipvs/goipvs.toml\n"
	if !strings.Contains(string(shipped), start) {
		t.Fatal("no line " + start)
	}
	unit := strings.Replace(string(shipped), start, fmt.Sprintf("ExecStart=/run/test/goipvsd -c /run/test/goipvs.toml\nEnvironment=%s=1\nStandardError=append:%s\n", asDaemon, h.path("log")), 1)
	m := newManager(h, strings.Replace(unit, "[Unit]\n", "[Unit]\nDefaultDependencies=no\n", 1))

	says := func(service, verdict, reason string) (last time.Time) {
		t.Helper()
		var got string
		defer func() {
			if t.Failed() {
				t.Logf("%s: %s, want %s: %s", service, got, verdict, reason)
			}
		}()
		h.await(service+" is "+verdict+": "+reason, func() bool {
			c := m.check(service)
			if c.Last != nil {
				last = *c.Last
			}
			got = c.Verdict + ": " + c.Reason
			return c.Verdict == verdict && strings.Contains(c.Reason, reason)
		})
		return last
	}
	says("plain", "down", "goipvs unlimited unlimited")
	says("limits", "unknown", "takes the system calls ptrace and prlimit64")
	says("user", "unknown", "CAP_KILL")
	says("both", "unknown", "CAP_KILL")

	dropIn, err := os.ReadFile("../../contrib/systemd/goipvsd-checks.conf")
	h.must(err)
	into := fmt.Sprintf("/proc/%d/root/run/systemd/system/goipvsd.service.d", m.pid)
	h.must(os.MkdirAll(into, 0o755))
	h.must(os.WriteFile(into+"/checks.conf", dropIn, 0o644))
	m.ctl("daemon-reload")
	m.ctl("restart", "goipvsd")
	says("plain", "down", "goipvs unlimited unlimited")
	says("limits", "down", "goipvs 7 524288")
	says("user", "down", "nobody unlimited unlimited")
	if may, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_RESOURCE, 0, 0, 0); err == nil && may == 1 {
		says("both", "down", "nobody 7 524288")
	} else { // as in some containers: nobody can have it
		says("both", "unknown", "CAP_SYS_RESOURCE")
	}
	first := says("hang", "down", "timed out waiting for the command")
	h.await("the command is started again, for it has ended", func() bool {
		c := m.check("hang")
		return strings.Contains(c.Reason, "timed out waiting for the command") && c.Last != nil && c.Last.After(first)
	})
	m.ctl("stop", "goipvsd")
}

// check is the check of the one server of a service.
func (m *manager) check(service string) (c control.Check) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := control.Dial(ctx, fmt.Sprintf("/proc/%d/root/run/goipvs/goipvs.sock", m.pid))
	if err != nil {
		return c
	}
	defer client.Close()
	var st control.Status
	if err := client.Do(ctx, "status", nil, &st); err != nil {
		return c
	}
	for _, s := range st.Services {
		if s.Name == service && len(s.Servers) == 1 && len(s.Servers[0].Checks) == 1 {
			c = s.Servers[0].Checks[0]
		}
	}
	return c
}

// loops is how many listening sockets a service has.
func loops() int {
	var may unix.CPUSet
	if unix.SchedGetaffinity(0, &may) != nil {
		return runtime.NumCPU()
	}
	return may.Count()
}
