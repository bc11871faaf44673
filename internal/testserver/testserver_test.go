package testserver

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProcessGroup: what a server started ends with it.
func TestProcessGroup(t *testing.T) {
	p := Start(t, Program{Path: "sh", Args: []string{"-c", "sleep 1000 & echo started; wait"}})
	p.Await(func() error {
		if !strings.Contains(p.Output(), "started") {
			return os.ErrNotExist
		}
		return nil
	})
	group := p.Pid()
	p.Stop()
	for deadline := time.Now().Add(patience); syscall.Kill(-group, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its child is still there")
		}
	}
}

// TestForbidServices: no service starts meanwhile; afterwards all is as it was,
// also where a run before was killed.
func TestForbidServices(t *testing.T) {
	file := t.TempDir() + "/policy-rc.d"
	for _, was := range []string{"", "#!/bin/sh\nexit 0\n", noServices} {
		want := was
		if was == noServices {
			want = ""
		}
		if was != "" {
			if err := os.WriteFile(file, []byte(was), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		undo, err := forbidServices(file)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(file); err != nil || want != "" && string(b) != want {
			t.Errorf("was %q: meanwhile %q, %v", was, b, err)
		}
		undo()
		if b, _ := os.ReadFile(file); string(b) != want {
			t.Errorf("was %q: afterwards %q", was, b)
		}
		os.Remove(file)
	}
}
