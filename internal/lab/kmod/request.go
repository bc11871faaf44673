package kmod

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Request loads modules, or what aliases stand for, as the running kernel does
// it itself: by the program in /proc/sys/kernel/modprobe. It needs root.
func Request(names ...string) error {
	b, err := os.ReadFile("/proc/sys/kernel/modprobe")
	if err != nil {
		return fmt.Errorf("load modules: %w", err)
	}
	program := string(bytes.TrimSpace(b))
	if program == "" {
		return errors.New("load modules: the kernel may load no modules")
	}
	for _, name := range names {
		if out, err := exec.Command(program, "-q", "--", name).CombinedOutput(); err != nil {
			return fmt.Errorf("load module %s: %w%s", name, err, after(out))
		}
	}
	return nil
}

// after is what a program said, to be put after its error.
func after(out []byte) string {
	if out = bytes.TrimSpace(out); len(out) == 0 {
		return ""
	}
	return ": " + string(out)
}
