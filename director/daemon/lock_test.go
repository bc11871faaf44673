package daemon

import (
	"errors"
	"os"
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
