package healthcheck

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/testserver"
)

// script writes a program into a folder that only we can write to.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(testserver.Dir(t, nil), "check")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

var externalTarget = Target{
	Real: netip.MustParseAddrPort("192.0.2.21:8080"), Virtual: netip.MustParseAddrPort("192.0.2.10:80"), Protocol: "tcp",
}

func TestExternal(t *testing.T) {
	for _, test := range []struct {
		name, script, want, transcript string
		args                           []string
	}{
		{name: "up", script: "exit 0"},
		{name: "down", script: "exit 3", want: "exit status 3"},
		{name: "says why", script: "echo looking; echo no disk >&2; exit 1", want: "exit status 1: no disk", transcript: `looking\nno disk\n`},
		{name: "ldirectord's arguments", script: `test "$*" = "mine 192.0.2.10 80 192.0.2.21 8080"`, args: []string{"mine"}},
		{name: "environment", script: `test "$GOIPVS_REAL:$GOIPVS_REAL_PORT $GOIPVS_VIRTUAL:$GOIPVS_VIRTUAL_PORT $GOIPVS_PROTOCOL" = "192.0.2.21:8080 192.0.2.10:80 tcp"`},
		{name: "nothing of the daemon's", script: `test -z "$NOTIFY_SOCKET$SECRET_TOKEN" && test "$PATH"`},
		{name: "no shell", script: `test "$1" = '$(id); rm x'`, args: []string{"$(id); rm x"}},
		{name: "killed", script: "kill -SEGV $$", want: "segmentation fault"},
		{name: "much output", script: "head -c 1000000 /dev/zero | tr '\\0' x; exit 1", want: "exit status 1: xxx", transcript: "xxx... (4096 bytes)"},
		{name: "input is empty", script: "read x && exit 1; exit 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", "/x")
			t.Setenv("SECRET_TOKEN", "y")
			res := lookAt(t, Check{Type: "external", Command: append([]string{script(t, test.script)}, test.args...)}, externalTarget)
			judgeState(t, state{want: test.want}, res)
			if !strings.Contains(res.Transcript, test.transcript) {
				t.Errorf("transcript\n%swants %q", res.Transcript, test.transcript)
			}
		})
	}
}

// TestExternalUser: the program runs as the user of the check, with its groups
// and home and without ours; a user that we may not become is trouble of our own.
func TestExternalUser(t *testing.T) {
	const nobody = "65534"
	file := script(t, `echo "$(id -u):$(id -g) $(id -G) $HOME"; exit 1`)
	for dir := filepath.Dir(file); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for user, want := range map[string]string{
		"":                        fmt.Sprintf("%d:%d ", os.Getuid(), os.Getgid()),
		strconv.Itoa(os.Getuid()): fmt.Sprintf("%d:%d ", os.Getuid(), os.Getgid()),
		nobody:                    "65534:65534 65534 /",
		nobody + ":12345":         "65534:12345 12345 /",
		"4000000000":              "4000000000:4000000000 4000000000 /",
	} {
		res := lookAt(t, Check{Type: "external", Command: []string{file}, Confine: Confinement{User: user}}, externalTarget)
		if user != "" && user != strconv.Itoa(os.Getuid()) && os.Getuid() != 0 {
			if Judge(res.Err) != Unknown || !strings.Contains(res.Err.Error(), "CAP_SETUID") {
				t.Errorf("user %s, who we may not become: %v", user, res.Err)
			}
			continue
		}
		if Judge(res.Err) != Down || !strings.Contains(res.Err.Error(), "exit status 1: "+want) {
			t.Errorf("user %q: %v, want %s", user, res.Err, want)
		}
	}
	for user, want := range map[string]string{"nobody-here": "user nobody-here: ", "root:nobody-here": "group nobody-here: "} {
		if err := (Check{Type: "external", Command: []string{file}, Confine: Confinement{User: user}}).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("user %s: %v", user, err)
		}
	}
}

// TestExternalUserTrusted: a program may belong to the user that it runs as, and
// to no other.
func TestExternalUserTrusted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("gives files to others, which only root can")
	}
	file := script(t, "exit 0")
	if err := os.Chown(file, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{"65534": "", "": "belongs to another user", "65533": "belongs to another user"} {
		err := (Check{Type: "external", Command: []string{file}, Confine: Confinement{User: user}}).Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("run by %q: %v", user, err)
		}
	}
}

// TestExternalLimits: limits are those of the program and all that it starts, from
// its first instruction on, and none of them is ours.
func TestExternalLimits(t *testing.T) {
	ours := func() (all [3]unix.Rlimit) {
		for i, what := range []int{unix.RLIMIT_CPU, unix.RLIMIT_AS, unix.RLIMIT_NOFILE} {
			if err := unix.Getrlimit(what, &all[i]); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	before := ours()
	for _, test := range []struct {
		name, script, want string
		limits             Confinement
	}{
		{"none", `test "$(ulimit -v)" = unlimited`, "", Confinement{}},
		{"all", `test "$(sh -c 'echo $(ulimit -t) $(ulimit -v) $(ulimit -n)')" = "7 131072 32"`, "", Confinement{CPU: 7 * time.Second, Memory: 128 << 20, Files: 32}},
		{"one", `test "$(ulimit -n) $(ulimit -t)" = "32 unlimited"`, "", Confinement{Files: 32}},
		{"processor time", "while :; do :; done", "CPU time limit exceeded", Confinement{CPU: time.Second}},
		{"memory", "dd if=/dev/zero of=/dev/null bs=256M count=1", "exit status 1: dd: memory exhausted", Confinement{Memory: 128 << 20}},
		{"status", "exit 3", "exit status 3", Confinement{Files: 32}},
		{"killed", "kill -KILL $$", "signal: killed", Confinement{Files: 32}},
	} {
		t.Run(test.name, func(t *testing.T) {
			res := lookAt(t, Check{Type: "external", Command: []string{script(t, test.script)}, Confine: test.limits}, externalTarget)
			judgeState(t, state{want: test.want}, res)
		})
	}
	if after := ours(); after != before {
		t.Errorf("our own limits were %v and are %v", before, after)
	}
}

// TestExternalBare: the program gets its own arguments and no others.
func TestExternalBare(t *testing.T) {
	file := script(t, `test "$*" = "mine" && test "$GOIPVS_REAL" = 192.0.2.21`)
	if res := lookAt(t, Check{Type: "external", Command: []string{file, "mine"}, Bare: true}, externalTarget); res.Err != nil {
		t.Error(res.Err)
	}
}

// TestExternalWeighs: a status above 1 says a weight, which is what the next ones
// make of it, and stays while the server is down.
func TestExternalWeighs(t *testing.T) {
	dir := testserver.Dir(t, nil)
	file := script(t, "read n < "+dir+"/status; case $n in kill) kill -KILL $$;; esac; exit $n")
	for _, test := range []struct {
		status string
		weight Weight
		want   string
	}{
		{status: "0"},
		{status: "1", want: "exit status 1"},
		{status: "2", weight: Weight{true, 0}},
		{status: "10", weight: Weight{true, 8}},
		{status: "255", weight: Weight{true, 253}},
		{status: "kill", want: "signal: killed"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "status"), []byte(test.status+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		res := lookAt(t, Check{Type: "external", Command: []string{file}, Weighs: true}, externalTarget)
		judgeState(t, state{want: test.want}, res)
		if res.Weight != test.weight {
			t.Errorf("status %s says %+v, want %+v", test.status, res.Weight, test.weight)
		}
	}
}

func TestExternalFirewallMark(t *testing.T) {
	file := script(t, `test "$*" = "7 0 192.0.2.21 0"`)
	res := lookAt(t, Check{Type: "external", Command: []string{file}}, Target{Real: netip.MustParseAddrPort("192.0.2.21:0"), FWMark: 7})
	if res.Err != nil {
		t.Error(res.Err)
	}
}

// TestExternalHangs: the program and all that it started die at the deadline,
// also what ignores the usual signals.
func TestExternalHangs(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(testserver.Dir(t, nil), "pids")
	file := script(t, fmt.Sprintf("trap '' TERM INT HUP\nsleep 1000 & echo $$ $! > %s\nwait; sleep 1000", pids))
	probe, err := New(Check{Type: "external", Command: []string{file}}, externalTarget)
	if err != nil {
		t.Fatal(err)
	}
	for d := 2 * time.Second; ; d *= 2 { // a busy machine may not have started it by then
		err = probe(within(t, d))
		if Class(err) != "timeout" || Judge(err) != Down {
			t.Errorf("%v (%s)", err, Class(err))
		}
		if b, _ := os.ReadFile(pids); bytes.Count(b, []byte("\n")) == 1 || d > time.Minute {
			break
		}
	}
	for _, pid := range started(t, pids) {
		awaitGone(t, pid)
	}
}

// TestExternalLeavesChildren: what the program leaves behind when it ends is
// ended too, and does not hold the check up.
func TestExternalLeavesChildren(t *testing.T) {
	pids := filepath.Join(testserver.Dir(t, nil), "pids")
	file := script(t, fmt.Sprintf("sleep 1000 & echo $! > %s", pids))
	if res := lookAt(t, Check{Type: "external", Command: []string{file}}, externalTarget); res.Err != nil {
		t.Error(res.Err)
	}
	for _, pid := range started(t, pids) {
		awaitGone(t, pid)
	}
}

func started(t *testing.T, file string) (pids []int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for f := range bytes.FieldsSeq(b) {
		pid, err := strconv.Atoi(string(f))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// awaitGone waits until a process has ended; a zombie has.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
	}
	syscall.Kill(pid, syscall.SIGKILL)
	t.Errorf("process %d still runs", pid)
}

// TestExternalOurTrouble: a program that cannot be started says nothing of the
// server.
func TestExternalOurTrouble(t *testing.T) {
	file := script(t, "exit 0")
	probe, err := New(Check{Type: "external", Command: []string{file}}, externalTarget)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(file)
	if err := probe(within(t, patient)); Judge(err) != Unknown {
		t.Errorf("%v: %v", Judge(err), err)
	}
}

// TestExternalReplaceable: a program that others could replace is not run.
func TestExternalReplaceable(t *testing.T) {
	file := script(t, "exit 0")
	dir := filepath.Dir(file)
	link := filepath.Join(testserver.Dir(t, nil), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		path    string
		changed string
		mode    os.FileMode
		want    string
	}{
		{"ours", file, file, 0o755, ""},
		{"by a link", link, file, 0o755, ""},
		{"not there", dir + "/nothing", file, 0o755, "no such file"},
		{"a folder", dir, file, 0o755, "is a directory"},
		{"not executable", file, file, 0o644, "permission denied"},
		{"file of a group", file, file, 0o775, "can be written by others"},
		{"file of all", file, file, 0o757, "can be written by others"},
		{"folder of all", file, dir, 0o777, "can be written by others"},
		{"folder of all behind a link", link, dir, 0o777, "can be written by others"},
		{"sticky folder", file, dir, 0o777 | os.ModeSticky, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			os.Chmod(file, 0o755)
			os.Chmod(dir, 0o755)
			if err := os.Chmod(test.changed, test.mode); err != nil {
				t.Fatal(err)
			}
			err := Check{Type: "external", Command: []string{test.path}}.Validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
