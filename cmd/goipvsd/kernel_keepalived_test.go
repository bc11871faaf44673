package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/config/importer"
	"github.com/goipvs/goipvs/internal/lab/boot"
	"github.com/goipvs/goipvs/internal/lab/topo"
)

// TestKernelKeepalivedScripts: Debian's keepalived, and goipvsd on what the
// importer makes of its file, run the same checks that say weights, keep the same
// quorum with hysteresis, and tell the same to the same scripts.
func TestKernelKeepalivedScripts(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 1})
	dir, err := boot.Keepalived()
	r.must(err)
	for at := r.dir; at != "/" && at != "/run"; at = filepath.Dir(at) { // keepalived's scripts may have a user of their own
		r.must(os.Chmod(at, 0o755))
	}
	check, notify, told := r.path("check"), r.path("notify"), r.path("told")
	r.must(os.WriteFile(check, []byte("#!/bin/sh\nread n < "+r.dir+"/status-$1\nexit $n\n"), 0o755))
	r.must(os.WriteFile(notify, []byte("#!/bin/sh\necho \"$*\" >> "+told+"\n"), 0o755))
	file := r.path("keepalived.conf")
	text := fmt.Sprintf(`
virtual_server 192.0.2.10 80 {
    delay_loop 1
    protocol TCP
    lvs_method NAT
    alpha
    quorum 10
    hysteresis 4
    quorum_up "%[1]s service up"
    quorum_down "%[1]s service down"
    sorry_server 10.9.0.99 80
`, notify)
	var servers []string
	for _, n := range []string{"11", "12"} {
		servers = append(servers, fmt.Sprintf(`
    real_server 10.9.0.%[1]s 80 {
        weight 8
        notify_up "%[2]s server %[1]s up"
        notify_down "%[2]s server %[1]s down"
        MISC_CHECK {
            misc_path "%[3]s %[1]s"
            misc_timeout 60
            misc_dynamic
        }
    }
`, n, notify, check))
	}
	text += strings.Join(servers, "") + "}\n"
	r.must(os.WriteFile(file, []byte(text), 0o644))
	made := importer.Keepalived(file, []byte(text), importer.Options{})
	if len(made.Lost) > 0 {
		t.Fatalf("lost: %v", made.Lost)
	}
	made.Config.Control, made.Config.ControlGroup, made.Config.StateDir = r.path("sock"), "", r.path("state")
	r.must(os.WriteFile(r.path("goipvs.toml"), config.Print(made.Config), 0o600))

	say := func(a, b int) {
		for n, status := range map[int]int{11: a, 12: b} {
			r.must(os.WriteFile(r.path("new"), fmt.Appendln(nil, status), 0o644))
			r.must(os.Rename(r.path("new"), r.path(fmt.Sprint("status-", n))))
		}
	}
	steps := []struct {
		first, second int
		want          string
	}{
		{7, 7, "10.9.0.99:80 nat weight 1"},                            // 10: less than 14
		{9, 9, "10.9.0.11:80 nat weight 7, 10.9.0.12:80 nat weight 7"}, // 14
		{5, 5, "10.9.0.11:80 nat weight 3, 10.9.0.12:80 nat weight 3"}, // 6: not less than 6
		{1, 7, "10.9.0.99:80 nat weight 1"},                            // one down, 5 left
		{0, 0, "10.9.0.11:80 nat weight 8, 10.9.0.12:80 nat weight 8"}, // as the file says
		{0, 1, "10.9.0.11:80 nat weight 8"},                            // 8 will do for one that is up
	}
	const want = "server 11: up down up\nserver 12: up down\nservice: down up down up\n"
	for _, daemon := range []struct {
		name  string
		start func() (stop func())
	}{
		{"goipvsd", func() func() { r.start(); return func() { r.stop() } }},
		{"keepalived", func() func() { return startKeepalived(r, dir, file) }},
	} {
		say(steps[0].first, steps[0].second)
		r.must(os.WriteFile(told, nil, 0o666))
		stop := daemon.start()
		for _, s := range steps {
			say(s.first, s.second)
			r.await(fmt.Sprintf("%s has, with statuses %d and %d, %s", daemon.name, s.first, s.second, s.want), func() bool { return r.weighty() == s.want })
		}
		var got string
		r.await(daemon.name+" has told\n"+want, func() bool { got = inLines(r, told); return got == want })
		stop()
		r.await("the table is empty after "+daemon.name, func() bool { return r.whole() == "" })
		if got = inLines(r, told); got != want {
			t.Errorf("%s told at its end, too:\n%s", daemon.name, got)
		}
	}
}

// weighty are the real servers that get connections.
func (r *rig) weighty() string {
	var list []string
	for line := range strings.Lines(r.whole()) {
		if line = strings.TrimSpace(line); strings.Contains(line, " weight ") && !strings.HasSuffix(line, " weight 0") {
			list = append(list, line)
		}
	}
	return strings.Join(list, ", ")
}

// inLines is what scripts were told of each subject, in a line. Between subjects
// keepalived's scripts, which run at the same time, have no order.
func inLines(r *rig, file string) string {
	r.Helper()
	b, err := os.ReadFile(file)
	r.must(err)
	said := map[string]string{}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		last := len(words) - 1
		said[strings.Join(words[:last], " ")] += " " + words[last]
	}
	var list []string
	for what, words := range said {
		list = append(list, what+":"+words+"\n")
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

func startKeepalived(r *rig, dir, file string) (stop func()) {
	r.Helper()
	cmd := exec.Command(filepath.Join(dir, "usr/sbin/keepalived"), "--dont-fork", "--log-console", "--check", "--use-file="+file,
		"--pid="+r.path("keepalived.pid"), "--checkers_pid="+r.path("checkers.pid"))
	libs, err := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu"))
	r.must(err)
	more, err := filepath.Glob(filepath.Join(dir, "lib/*-linux-gnu"))
	r.must(err)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(append(libs, more...), ":"))
	return r.foreground("keepalived", cmd)
}
