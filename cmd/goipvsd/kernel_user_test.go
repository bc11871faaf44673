package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"golang.org/x/sys/unix"
)

// TestKernelNotRoot: the daemon needs one capability and no root, and what it
// starts has none: checks, alerts, commands for the fallback.
func TestKernelNotRoot(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	servers := serveAll(r)
	const nobody = 65534
	script := r.path("caps")
	r.must(os.WriteFile(script, []byte("#!/bin/sh\nwhile read -r line; do case $line in Cap*) echo \"$line\";; esac; done < /proc/self/status > "+r.dir+"/by-$1\n"), 0o755))
	r.file(fmt.Sprintf("hold_on_mass_failure = 1.0\n[alert]\ncommand = [%q, \"alert\"]\n", script) + three(3, "") + fmt.Sprintf(`
[[virtual]]
address = "192.0.2.10:81"
forward = "nat"
fallback = ["10.9.0.13:80"]
fallback_command = [%q, "fallback"]
[virtual.check]
type = "external"
command = ["/bin/sh", "-c", %q]
[[virtual.real]]
address = "10.9.0.12:80"
`, script, script+" check; exit 1"))
	for dir := r.dir; dir != "/" && dir != "/run"; dir = filepath.Dir(dir) {
		r.must(os.Chmod(dir, 0o755))
	}
	for _, f := range []string{r.dir, r.path("goipvs.toml")} {
		r.must(os.Chown(f, nobody, nobody))
	}
	r.user = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}}
	r.start()
	all := all3 + `
		tcp 192.0.2.10:81 wlc
		  10.9.0.12:80 nat 0
		  10.9.0.13:80 nat 1`
	r.becomes(all)
	r.must(servers[0].Close())
	r.becomes(strings.Replace(all, "11:80 nat 1", "11:80 nat 0", 1))
	r.ok("drain", "10.9.0.12") // as root, who may
	for _, by := range []string{"alert", "check", "fallback"} {
		var caps string
		r.await("the "+by+" command ran", func() bool {
			b, err := os.ReadFile(r.path("by-" + by))
			if !errors.Is(err, os.ErrNotExist) {
				r.must(err)
			}
			caps = string(b)
			return strings.Contains(caps, "CapAmb")
		})
		for line := range strings.Lines(caps) {
			// The bounding and the inheritable set give a program nothing by themselves.
			if f := strings.Fields(line); f[0] != "CapBnd:" && f[0] != "CapInh:" && strings.Trim(f[1], "0") != "" {
				t.Errorf("the %s command had capabilities: %s", by, line)
			}
		}
	}
	if status := r.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
}
