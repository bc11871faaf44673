package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl"
	"golang.org/x/sys/unix"
)

// TestKernelNoFilesLeft: a director without file descriptors knows nothing of
// its servers, and changes nothing; when it has some again it goes on.
func TestKernelNoFilesLeft(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	var servers []*echo
	for _, h := range r.net.Servers {
		servers = append(servers, newEcho(r, h))
	}
	// A check that only connects would go on: its sockets are used again.
	r.file("hold_on_mass_failure = 1.0\n" + strings.Replace(three(3, ""), `"connect"`, `"tcp"`, 1))
	r.start()
	r.becomes(all3)
	pid := r.cmd.Process.Pid
	var before unix.Rlimit
	r.must(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 524288}, &before))
	servers[1].refuse()
	r.await("the log says that nothing can be checked", func() bool { return strings.Contains(r.log.String(), "event=server_unknown") })
	time.Sleep(time.Second) // several intervals in which nothing must happen
	if got := r.table(); got != strings.ReplaceAll(all3, "\n\t\t", "\n") {
		t.Errorf("without files the table became\n%s", got)
	}
	r.must(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil))
	r.becomes(strings.Replace(all3, "12:80 nat 1", "12:80 nat 0", 1))
}

// TestKernelClockJumps: a year forward and two back do not move a verdict.
func TestKernelClockJumps(t *testing.T) {
	if lab.Kind() == "host" {
		t.Skip("the machine's clock is not ours to set")
	}
	r := newRig(t, topo.Spec{Servers: 3})
	var servers []*echo
	for _, h := range r.net.Servers {
		servers = append(servers, newEcho(r, h))
	}
	r.file("hold_on_mass_failure = 1.0\n" + three(3, "drain = \"1h\"\n"))
	r.start()
	r.becomes(all3)
	one := streamTo(r, "rs1")
	const year = 365 * 24 * time.Hour
	defer shift(r, year)
	for _, by := range []time.Duration{year, -2 * year} {
		shift(r, by)
		servers[2].refuse()
		r.becomes(strings.Replace(all3, "13:80 nat 1", "13:80 nat 0", 1))
		servers[2].up()
		r.becomes(all3)
	}
	r.lives("the clock jumped", one)
	if strings.Contains(r.log.String(), "mass_failure") {
		t.Error("a jump of the clock is no mass failure")
	}
}

// shift sets the machine's clock forward or back.
func shift(r *rig, by time.Duration) {
	r.Helper()
	var now unix.Timespec
	r.must(unix.ClockGettime(unix.CLOCK_REALTIME, &now))
	now = unix.NsecToTimespec(now.Nano() + by.Nanoseconds())
	r.must(unix.ClockSettime(unix.CLOCK_REALTIME, &now))
}

// TestKernelDiskFull: an operator's word counts, and he is told that it will not
// outlive the daemon; when there is room again it is kept.
func TestKernelDiskFull(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	for _, h := range r.net.Servers {
		newEcho(r, h)
	}
	r.must(os.Mkdir(r.path("state"), 0o700))
	r.must(unix.Mount("tmpfs", r.path("state"), "tmpfs", 0, "size=64k"))
	defer func() { _ = unix.Unmount(r.path("state"), unix.MNT_DETACH) }()
	r.file("hold_on_mass_failure = 1.0\n" + three(3, ""))
	r.start()
	r.becomes(all3)
	fill := filepath.Join(r.path("state"), "fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	status, out, errw := r.goipvs("maintain", "10.9.0.13")
	if status != 0 || !strings.Contains(out, "10.9.0.13:80 of tcp 192.0.2.10:80") || !strings.Contains(errw, "warning: done, but it will not survive a restart") {
		t.Errorf("status %d\n%s%s", status, out, errw)
	}
	r.becomes(strings.Replace(all3, "13:80 nat 1", "13:80 nat 0", 1))
	r.must(os.Remove(fill))
	r.ok("maintain", "--reason", "again", "10.9.0.13")
	r.kill()
	r.start()
	r.becomes(strings.Replace(all3, "13:80 nat 1", "13:80 nat 0", 1))
	if s := r.server(rip(3)); s.Override == nil || s.Override.Reason != "again" {
		t.Errorf("after the restart: %+v", s)
	}
}

// TestKernelModuleReloaded: ip_vs is unloaded and loaded again.
func TestKernelModuleReloaded(t *testing.T) {
	if lab.Kind() == "host" {
		t.Skip("the machine's module is not ours to unload")
	}
	r := newRig(t, topo.Spec{Servers: 3})
	for _, h := range r.net.Servers {
		newEcho(r, h)
	}
	r.file("hold_on_mass_failure = 1.0\n" + three(3, ""))
	r.start()
	r.becomes(all3)
	r.unloadIPVS()
	r.must(r.cmd.Process.Signal(unix.SIGCONT))
	r.must(lab.Load("ip_vs"))
	r.becomes(all3)
}

// TestKernelPlaneComesAndGoes: a machine loses IPVS and gets it back, and NAT
// services go to user space and back to the kernel, each with clients served. It
// runs early: a namespace that one of the longer tests left behind, and that the
// kernel has not taken away yet, would keep the module in use.
func TestKernelPlaneComesAndGoes(t *testing.T) {
	if lab.Kind() != "uml" {
		t.Skip("once is enough, and the host's module is not ours to unload")
	}
	r := newRig(t, topo.Spec{Servers: 3})
	serveAll(r)
	r.file("without_ipvs = \"fullnat\"\nhold_on_mass_failure = 1.0\n" + three(3, ""))
	r.start()
	r.becomes(all3)
	if s := (&planesRig{rig: r}).service("web"); s.Plane != "" {
		t.Errorf("%+v", s)
	}
	program := sysctl.Knob("kernel/modprobe")
	was, err := (sysctl.Netns{}).Get(program)
	r.must(err)
	_, err = (sysctl.Netns{}).Set(program, "/nonexistent")
	r.must(err)
	t.Cleanup(func() { _, _ = (sysctl.Netns{}).Set(program, was); _ = lab.Load("ip_vs") })
	r.unloadIPVS()
	r.must(r.cmd.Process.Signal(unix.SIGCONT))
	p := &planesRig{rig: r, vip: r.net.VIP4}
	r.await("user space serves", func() bool {
		s := p.service("web")
		return s.Plane == "userspace" && len(s.Servers) == 3 && s.Servers[0].WeightKernel != nil
	})
	if seen := p.answers("tcp", 80); seen[r.net.Director.Addr4] != 4 {
		t.Errorf("servers saw %v, want the director", seen)
	}
	if out := r.ok("status"); !strings.Contains(out, "WITHOUT IPVS") {
		t.Error(out)
	}
	_, err = (sysctl.Netns{}).Set(program, was)
	r.must(err)
	r.must(lab.Load("ip_vs"))
	r.becomes(all3)
	r.await("it is said", func() bool { return strings.Contains(r.log.String(), "event=ipvs_appeared") })
	for range 4 {
		if who := r.ask(vipPort); who == "" {
			t.Error("nobody answers")
		}
	}
	if out := r.ok("status"); strings.Contains(out, "WITHOUT IPVS") || strings.Contains(out, "user space") {
		t.Error(out)
	}
}

// unloadIPVS stops goipvsd, which would load the module itself, and takes it out.
func (r *rig) unloadIPVS() {
	r.Helper()
	for end := time.Now().Add(r.patience); ; {
		r.must(r.cmd.Process.Signal(unix.SIGSTOP))
		r.must(r.client.Flush())
		err := unload("ip_vs_rr", "ip_vs_wlc", "ip_vs")
		if err == nil {
			return
		}
		if time.Now().After(end) {
			r.Fatal(err)
		}
		// It may have been stopped in the middle of a listing, for which the kernel
		// keeps the module.
		r.must(r.cmd.Process.Signal(unix.SIGCONT))
		time.Sleep(100 * time.Millisecond) // in a loop
	}
}

// unload takes modules out; one that is not in is as good.
func unload(names ...string) error {
	for _, name := range names {
		var err error
		for range 40 { // what the kernel frees later may still use it
			if err = unix.DeleteModule(name, unix.O_NONBLOCK); err == nil || errors.Is(err, unix.ENOENT) {
				err = nil
				break
			}
			time.Sleep(50 * time.Millisecond) // in a loop: nothing tells of it
		}
		if err != nil {
			return fmt.Errorf("unload %s: %w", name, err)
		}
	}
	return nil
}

// TestKernelSecondDaemon: there is one daemon for a control socket, whatever
// the file looks like meanwhile, and ldirectord's verbs find it.
func TestKernelSecondDaemon(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	for _, h := range r.net.Servers {
		newEcho(r, h)
	}
	run := func(args ...string) (int, string) {
		cmd := r.command(append([]string{"--log", r.path("log")}, args...)...)
		var out []byte
		err := r.net.Director.Do(func() (err error) { out, err = cmd.CombinedOutput(); return err })
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	want := func(status int, text string, args ...string) {
		t.Helper()
		got, out := run(args...)
		if got != status || !strings.Contains(out, text) {
			t.Errorf("goipvsd %q: status %d, want %d, and %q in\n%s", args, got, status, text, out)
		}
	}
	good := "hold_on_mass_failure = 1.0\n" + three(3, "")
	r.file(good)
	want(0, "is fine: 1 services, 3 real servers", "-t")
	want(3, "goipvsd is stopped for ", "status")
	want(0, "", "stop")
	want(0, "", "try-restart")
	want(1, "goipvsd does not run with", "reload")
	want(0, "", "start")
	r.becomes(all3)
	want(0, "is running with pid: ", "status")
	want(0, "already, nothing was started", "start")
	want(75, "another goipvsd runs with ")
	want(0, "", "reload")

	r.file("what is this\n" + good)
	want(2, "goipvs.toml:4", "-t")
	want(2, "goipvs.toml:4", "reload")
	want(2, "goipvs.toml:4", "restart")
	want(0, "is running with pid: ", "status")
	r.file(good)
	want(0, "", "restart")
	want(0, "is running with pid: ", "status")
	r.becomes(all3)
	r.file("what is this\n" + good)
	want(0, "", "stop")
	want(3, "is stopped", "status")
	r.becomes(all3)
}
