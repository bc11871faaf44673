package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/topo"
)

// TestKernelProcessOne: as process 1 of a container goipvsd gets the children that
// commands leave behind, killed with them or gone into sessions of their own, and
// keeps none of those that have ended; its own commands still tell how they ended.
func TestKernelProcessOne(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 1})
	check, ran := r.path("check"), r.path("ran")
	r.must(os.WriteFile(check, fmt.Appendf(nil, `#!/bin/sh
if test ! -e %[1]s; then
	for i in 1 2 3 4 5; do
		sleep 1000 &
		setsid sleep 0.1 >&- 2>&- &
	done
fi
echo >> %[1]s
`, ran), 0o755))
	r.file(fmt.Sprintf(`
[[virtual]]
address = "192.0.2.10:80"
forward = "nat"
[virtual.check]
type = "external"
command = [%q]
interval = "200ms"
timeout = "20s"
[[virtual.real]]
address = "10.9.0.11:80"
`, check))
	r.user = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	r.start()
	r.await("the check has run ten times", func() bool {
		b, err := os.ReadFile(ran)
		return err == nil && len(b) >= 10
	})
	r.becomes(`tcp 192.0.2.10:80 wlc
		  10.9.0.11:80 nat 1`)
	r.await("no process that has ended is left", func() bool { return len(zombies(r, r.cmd.Process.Pid)) == 0 })
	if log := r.log.String(); strings.Contains(log, "no child processes") {
		t.Errorf("the end of a check was lost:\n%s", log)
	}
}

// zombies are the children of a process that have ended and that it has not waited
// for.
func zombies(r *rig, of int) (list []string) {
	r.Helper()
	all, err := os.ReadDir("/proc")
	r.must(err)
	for _, e := range all {
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // no process, or gone
		}
		name, rest, _ := strings.Cut(string(b), ") ")
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && state == "Z" && parent == of {
			list = append(list, name)
		}
	}
	return list
}
