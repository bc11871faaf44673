package healthcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/testserver"
)

// Programs that get away from being killed.

// traceEnv has this program trace a process and do nothing else. The kernel keeps
// the end of a traced process from its parent, as if it could not be killed.
const traceEnv = "GOIPVS_TEST_TRACE"

func TestMain(m *testing.M) {
	if pid, err := strconv.Atoi(os.Getenv(traceEnv)); err == nil {
		trace(pid)
		return
	}
	os.Exit(m.Run())
}

// trace says on its output which process it is, or why it cannot trace, and
// stays until it is killed, or for five minutes, should the test not come to that.
func trace(pid int) {
	runtime.LockOSThread()
	if _, _, err := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0); err == unix.ESRCH {
		return // it was killed before
	} else if err != 0 {
		fmt.Println(err)
		return
	}
	fmt.Println(os.Getpid())
	time.Sleep(5 * time.Minute) // nothing to await: it is there to be killed
}

// TestExternalEscapes: a child that left the process group lives on and holds the
// output open, and the check ends all the same: with its program, or at its
// deadline.
func TestExternalEscapes(t *testing.T) {
	for _, test := range []struct {
		name, last, class string
		deadline          time.Duration
	}{
		{"the program ends", "echo is well", "", patient},
		{"the program hangs", "sleep 1000", "timeout", 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(testserver.Dir(t, nil), "pids")
			file := script(t, fmt.Sprintf("setsid sh -c 'echo $$ >%s; exec sleep 100' &\nwhile ! test -s %[1]s; do sleep .01; done\n%s", pids, test.last))
			t.Cleanup(func() {
				for _, pid := range started(t, pids) {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			})
			probe, err := New(Check{Type: "external", Command: []string{file}}, externalTarget)
			if err != nil {
				t.Fatal(err)
			}
			for d := test.deadline; ; d *= 2 { // a busy machine may not have started it by then
				began := time.Now()
				err = probe(within(t, d))
				if took := time.Since(began); took > d+patient/2 {
					t.Fatalf("a check with a deadline of %v took %v", d, took)
				}
				if b, _ := os.ReadFile(pids); len(b) > 0 || d > time.Minute {
					break
				}
			}
			if Class(err) != test.class {
				t.Errorf("%v (%s), want %q", err, Class(err), test.class)
			}
			for _, pid := range started(t, pids) {
				if err := unix.Kill(pid, 0); err != nil {
					t.Errorf("the child did not get away: %v", err)
				}
			}
		})
	}
}

// TestExternalCannotBeKilled: a program that does not even end when it is killed
// does not hold its check up, is not started again beside itself, and is once it
// has ended.
func TestExternalCannotBeKilled(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := testserver.Dir(t, nil)
	path := func(name string) string { return filepath.Join(dir, name) }
	file := script(t, fmt.Sprintf("test -e %s/well && exit 0\necho >>%[1]s/starts\n%s=$$ setsid %s >%[1]s/tracer 2>&1 &\nexec sleep 1000", dir, traceEnv, self))
	probe, err := New(Check{Type: "external", Command: []string{file}}, externalTarget)
	if err != nil {
		t.Fatal(err)
	}
	tracer := ""
	for d := 2 * time.Second; tracer == "" && d < time.Minute; d *= 2 { // a busy machine may not have traced it by then
		began := time.Now()
		err := probe(within(t, d))
		if took := time.Since(began); Class(err) != "timeout" || took > d+patient/2 {
			t.Fatalf("a check with a deadline of %v: %v after %v", d, err, took)
		}
		b, _ := os.ReadFile(path("tracer"))
		tracer = strings.TrimSpace(string(b))
	}
	pid, err := strconv.Atoi(tracer)
	if err != nil {
		t.Skipf("processes cannot be traced here: %s", tracer)
	}
	release := func() { _ = unix.Kill(pid, unix.SIGKILL) }
	t.Cleanup(release)

	starts, _ := os.ReadFile(path("starts"))
	const still = "the command of an earlier check was killed and has still not ended"
	for range 3 {
		if err := probe(within(t, patient)); err == nil || !strings.Contains(err.Error(), still) || Judge(err) != Down {
			t.Errorf("a check beside one that cannot be killed: %v", err)
		}
	}
	if after, _ := os.ReadFile(path("starts")); string(after) != string(starts) {
		t.Errorf("started %d times, and %d before", len(after), len(starts))
	}
	testserver.Write(t, path("well"), "")
	release()
	for end := time.Now().Add(patient); ; time.Sleep(time.Millisecond) {
		err := probe(within(t, patient))
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), still) || time.Now().After(end) {
			t.Fatalf("when it has ended: %v", err)
		}
	}
}
