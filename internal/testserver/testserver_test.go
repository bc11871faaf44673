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

func TestForbidServices(t *testing.T) {
	file := t.TempDir() + "/policy-rc.d"
	undo, err := forbidServices(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := forbidServices(file)
	if err != nil {
		t.Fatal(err)
	}
	again()
	if _, err := os.Stat(file); err != nil {
		t.Error("somebody else's file was removed")
	}
	undo()
	if _, err := os.Stat(file); err == nil {
		t.Error("our file was left behind")
	}
}
