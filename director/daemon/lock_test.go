package daemon

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// TestAskingIsNotLocking: whoever asks whether a daemon runs keeps none from
// starting in that moment, and a daemon that runs is found.
func TestAskingIsNotLocking(t *testing.T) {
	dir := t.TempDir()
	p := Place{Control: filepath.Join(dir, "sock"), StateDir: filepath.Join(dir, "state"), config: "goipvs.toml"}
	ended := make(chan struct{})
	var asking sync.WaitGroup
	defer asking.Wait()
	defer close(ended)
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					p.Holder()
				}
			}
		})
	}
	for range 2000 {
		l, err := Acquire(p)
		if err != nil {
			t.Fatalf("nobody runs: %v", err)
		}
		if pid, running := p.Holder(); !running || pid != os.Getpid() {
			t.Fatalf("process %d runs: %v", pid, running)
		}
		var held *RunningError
		if _, err := Acquire(p); !errors.As(err, &held) || held.PID != os.Getpid() {
			t.Fatalf("a second one: %v", err)
		}
		l.Release()
	}
}

// TestLockedByOthers: the locks are those of flock(1), which scripts know.
func TestLockedByOthers(t *testing.T) {
	dir := t.TempDir()
	p := Place{Control: filepath.Join(dir, "sock"), StateDir: filepath.Join(dir, "state"), config: "goipvs.toml"}
	l, err := Acquire(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{lockPath(p.Control), stateLockPath(p.StateDir)} {
		if out, err := exec.Command("flock", "-n", path, "true").CombinedOutput(); err == nil {
			t.Errorf("flock -n %s succeeds while a daemon runs: %s", path, out)
		}
	}
	l.Release()

	flock := exec.Command("flock", lockPath(p.Control), "sh", "-c", "echo locked; read line")
	in, err := flock.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := flock.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := flock.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("flock says %q, %v", line, err)
	}
	var held *RunningError
	if _, err := Acquire(p); !errors.As(err, &held) {
		t.Errorf("while flock has the lock: %v", err)
	}
	in.Close()
	_ = flock.Wait() // its read fails
	if l, err = Acquire(p); err != nil {
		t.Fatal(err)
	}
	l.Release()
}
