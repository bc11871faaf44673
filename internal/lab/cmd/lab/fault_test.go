package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// expect checks a run that the lab itself ended.
func expect(t *testing.T, got result, status int, stdout, stderr string) {
	t.Helper()
	if got.Status != status {
		t.Errorf("status %d, want %d", got.Status, status)
	}
	if got.Stdout != stdout {
		t.Errorf("stdout %q, want %q", got.Stdout, stdout)
	}
	if !regexp.MustCompile(stderr).MatchString(got.Stderr) {
		t.Errorf("stderr does not match %q:\n%s", stderr, got.Stderr)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	expect(t, program(t, "panic"), 125, "",
		`(?s)^lab: the kernel died after .* while the program ran .*sysrq: Trigger a crash.*Kernel panic`)
}

// TestTimeLimit: a Go program says where it hangs.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	got := runLab(t, command([]string{"LAB_TIMEOUT=6s"}, programPath, "hang"))
	expect(t, got, 124, "hanging\n", `(?s)SIGQUIT: quit.*main\.sleep.*lab: time limit of 6s reached while the program ran; the kernel`)
}

func TestTimeLimitOfDeafProgram(t *testing.T) {
	t.Parallel()
	got := runLab(t, command([]string{"LAB_TIMEOUT=6s"}, programPath, "deaf"))
	expect(t, got, 124, "deaf\n", `^lab: time limit of 6s reached while the program ran;`)
}

func TestTimeLimitAtBoot(t *testing.T) {
	t.Parallel()
	got := runLab(t, command([]string{"LAB_BOOT_TIMEOUT=100ms"}, programPath, "exit", "0"))
	expect(t, got, 124, "", `^lab: time limit of 100ms reached while it booted`)
}

func TestBadUse(t *testing.T) {
	tests := []struct {
		name   string
		env    []string
		args   []string
		status int
		stderr string
	}{
		{"no program", nil, nil, 2, `^lab: no program to run`},
		{"unknown program", nil, []string{"/nowhere/x"}, 125, `^lab: .*/nowhere/x.*no such file`},
		{"unknown lab", []string{"LAB=vax"}, []string{programPath}, 125, `^lab: LAB=vax: no such lab \(uml, qemu, host\)\n$`},
		{"bad time limit", []string{"LAB_TIMEOUT=soon"}, []string{programPath}, 2, `^lab: LAB_TIMEOUT: .*soon`},
		{"bad memory", []string{"LAB_MEMORY=big"}, []string{programPath}, 2, `^lab: LAB_MEMORY: "big" is no positive number\n$`},
		{"unknown module", []string{"LAB_MODULES=no_such"}, []string{programPath, "exit", "0"}, 125, `^lab: load module no_such: .*no such module`},
		{"host without consent", []string{"LAB=host", "GOIPVS_LAB_HOST_OK="}, []string{programPath}, 125, `^lab: .*GOIPVS_LAB_HOST_OK=1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			expect(t, runLab(t, command(tt.env, tt.args...)), tt.status, "", tt.stderr)
		})
	}
}

// TestNoKernel is about a machine on which the kernel cannot be had.
func TestNoKernel(t *testing.T) {
	if _, err := os.Stat("/usr/bin/linux.uml"); err == nil {
		t.Skip("user-mode Linux is installed on this machine")
	}
	env := []string{"PATH=/nowhere", "GOIPVS_LAB_CACHE=" + t.TempDir()}
	expect(t, runLab(t, command(env, programPath)), 125, "",
		`(?m)^lab: no user-mode Linux: install Debian's package user-mode-linux or use LAB=qemu: this machine has no apt-get to fetch it with\n$`)
	env[1] = "GOIPVS_LAB_CACHE=/dev/null/x"
	expect(t, runLab(t, command(env, programPath)), 125, "", `^lab: no user-mode Linux: .*/dev/null`)
}

// startHanging starts a lab whose program hangs, and waits until it does.
func startHanging(t *testing.T, tmp string) (pid int, wait func() int) {
	t.Helper()
	cmd := command([]string{"TMPDIR=" + tmp}, programPath, "hang")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "hanging\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	return cmd.Process.Pid, func() int {
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}
}

// TestKilledLabLeavesNothing kills the lab command in every way there is and
// looks for processes and files of its machine.
func TestKilledLabLeavesNothing(t *testing.T) {
	for sig, want := range map[unix.Signal]int{unix.SIGKILL: -1, unix.SIGTERM: 143, unix.SIGINT: 130} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			tmp := t.TempDir()
			pid, wait := startHanging(t, tmp)
			if n := len(processes(t, tmp)); n < 2 {
				t.Fatalf("%d processes mention %s: this test looks for the wrong thing", n, tmp)
			}
			if err := unix.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
			if got := wait(); got != want {
				t.Errorf("exit status %d, want %d", got, want)
			}
			awaitNothing(t, tmp)
		})
	}
}

// TestQuit: go test sends SIGQUIT to what takes too long, and prints what it
// then says.
func TestQuit(t *testing.T) {
	t.Parallel()
	pid, wait := startHanging(t, t.TempDir())
	if err := unix.Kill(pid, unix.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if got := wait(); got != 2 { // as a Go program ends on SIGQUIT
		t.Errorf("exit status %d, want 2", got)
	}
}

// awaitNothing waits for the watcher of a lab that is gone already.
func awaitNothing(t *testing.T, tmp string) {
	t.Helper()
	var left, files []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		left = processes(t, tmp)
		files, _ = filepath.Glob(filepath.Join(tmp, "*"))
		if len(left)+len(files) == 0 {
			return
		}
	}
	t.Errorf("left behind: processes %q, files %q", left, files)
}

// processes lists those whose command line has the text: the watcher, the
// kernel, and the kernel's processes, which look like it. Zombies have none.
func processes(t *testing.T, text string) (found []string) {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", d.Name(), "cmdline"))
		if strings.Contains(string(line), text) {
			found = append(found, d.Name()+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
