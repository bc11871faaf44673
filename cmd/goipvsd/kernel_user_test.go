package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"golang.org/x/sys/unix"
)

// TestKernelNotRoot: the daemon needs one capability and no root, and what it
// starts has none.
func TestKernelNotRoot(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	servers := serveAll(r)
	const nobody = 65534
	seen := r.path("seen")
	r.must(os.WriteFile(seen, nil, 0o600))
	script := r.path("alert")
	r.must(os.WriteFile(script, []byte("#!/bin/sh\nwhile read -r line; do case $line in Cap*) echo \"$line\";; esac; done < /proc/self/status > "+seen+"\n"), 0o755))
	r.file("hold_on_mass_failure = 1.0\n[alert]\ncommand = [\"" + script + "\"]\n" + three(3, ""))
	for dir := r.dir; dir != "/" && dir != "/run"; dir = filepath.Dir(dir) {
		r.must(os.Chmod(dir, 0o755))
	}
	for _, f := range []string{r.dir, seen, r.path("goipvs.toml")} {
		r.must(os.Chown(f, nobody, nobody))
	}
	r.user = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}}
	r.start()
	r.becomes(all3)
	r.must(servers[0].Close())
	r.becomes(strings.Replace(all3, "11:80 nat 1", "11:80 nat 0", 1))
	r.ok("drain", "10.9.0.12") // as root, who may
	var caps string
	r.await("the alert command ran", func() bool {
		b, err := os.ReadFile(seen)
		r.must(err)
		caps = string(b)
		return strings.Contains(caps, "CapAmb")
	})
	for line := range strings.Lines(caps) {
		// The bounding and the inheritable set give a program nothing by themselves.
		if f := strings.Fields(line); f[0] != "CapBnd:" && f[0] != "CapInh:" && strings.Trim(f[1], "0") != "" {
			t.Errorf("the alert command had capabilities: %s", line)
		}
	}
	if status := r.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
}
