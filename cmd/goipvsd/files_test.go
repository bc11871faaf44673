package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKeepFiles: what this process was started with is not given to the programs
// that it starts.
func TestKeepFiles(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // as a shell's redirection leaves it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	given := func() bool {
		return exec.Command("/bin/sh", "-c", fmt.Sprintf("test -e /proc/self/fd/%d", fd)).Run() == nil
	}
	if !given() {
		t.Fatal("programs do not get open files at all")
	}
	if err := keepFiles(); err != nil {
		t.Fatal(err)
	}
	if given() {
		t.Error("a program was given an open file of ours")
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
		t.Error(err)
	}
}
