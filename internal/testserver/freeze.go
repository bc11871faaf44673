package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Freeze stops the server and all that it started, in the middle of their work,
// and returns when none of their threads runs any more: the signal alone leaves
// them some time on a busy machine. Its ports stay open, and the kernel goes on
// taking connections for it.
func (p *Process) Freeze() {
	p.t.Helper()
	if err := p.SignalGroup(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	p.Await(func() error { return stopped(p.Pid()) })
}

// Thaw lets a server that was frozen go on.
func (p *Process) Thaw() { p.SignalGroup(syscall.SIGCONT) }

// stopped is nil when every thread of the process group is stopped or dead.
func stopped(group int) error {
	all, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/stat")
	if err != nil {
		return err
	}
	for _, file := range all {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has gone
		}
		_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		var state string
		var parent, of int
		if _, err := fmt.Sscan(rest, &state, &parent, &of); err == nil && of == group && !slices.Contains([]string{"T", "Z", "X"}, state) {
			return fmt.Errorf("%s: state %s", file, state)
		}
	}
	return nil
}
