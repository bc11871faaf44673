package daemon

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/healthcheck"
	"golang.org/x/sys/unix"
)

// TestReapOne: a process 1 takes a child that nobody waits for, and none that a
// check or an alert has started, also when that has moved to another group.
func TestReapOne(t *testing.T) {
	program := func() *exec.Cmd {
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: unix.Getpgrp()}
		return cmd
	}
	ended := func(cmd *exec.Cmd) {
		t.Helper()
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
	}
	ours := program()
	wait, err := healthcheck.Confinement{}.Start(ours)
	if err != nil {
		t.Fatal(err)
	}
	if ended(ours); reapOne() {
		t.Error("took a child that somebody waits for")
	}
	if err := wait(); err != nil {
		t.Errorf("its end: %v", err)
	}
	orphan := program()
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	if ended(orphan); !reapOne() {
		t.Error("left a child that nobody waits for")
	}
	_ = orphan.Process.Release()
}
