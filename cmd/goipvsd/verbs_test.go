package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// verb runs a verb of ldirectord's with a file, as its command line does.
func verb(config, name string) (status int, said string) {
	var o, e strings.Builder
	p := &program{args: []string{"goipvsd", "-c", config, name}, out: &o, errw: &e}
	status = p.run()
	return status, o.String() + e.String()
}

// TestSlips: what was meant is not guessed, and what is right is named.
func TestSlips(t *testing.T) {
	for line, want := range map[string]string{
		"-t my.toml":  `goipvsd: usage: unknown verb "my.toml" (a file is given by -c; try "goipvsd --help")`,
		"-x":          `goipvsd: usage: flag provided but not defined: -x (try "goipvsd --help")`,
		"-c":          `goipvsd: usage: flag needs an argument: -c (try "goipvsd --help")`,
		"start -c my": `goipvsd: usage: one verb at most, not "start -c my" (options stand before it)`,
	} {
		var o, e strings.Builder
		p := &program{args: append([]string{"goipvsd"}, strings.Fields(line)...), out: &o, errw: &e}
		if status := p.run(); status != badUsage || o.Len() > 0 || e.String() != want+"\n" {
			t.Errorf("%s: status %d, %s%s", line, status, &o, &e)
		}
	}
}

// TestVerbsWithoutFile: a file that is gone or empty does not tell where its
// daemon would be, so nobody says that it is stopped; one that tells does.
func TestVerbsWithoutFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir + "/missing", dir + "/empty", dir} {
		if path == dir+"/empty" {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"status", "stop", "try-restart", "reload", "upgrade"} {
			status, said := verb(path, name)
			if status != badUsage || !strings.Contains(said, "would not be found") || !strings.Contains(said, "hint: ") {
				t.Errorf("%s with %s: status %d, %s", name, path, status, said)
			}
		}
	}
	path := dir + "/broken"
	if err := os.WriteFile(path, []byte("control = \""+dir+"/sock\"\nstate_dir = \""+dir+"\"\n[broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"status": notRunning, "stop": ok, "try-restart": ok, "reload": failed, "upgrade": notRunning} {
		if status, said := verb(path, name); status != want {
			t.Errorf("%s with a broken file and no daemon: status %d, want %d: %s", name, status, want, said)
		}
	}
}

// TestVerbBrokenOff: a verb that waits ends when it is interrupted, and what it
// began goes on.
func TestVerbBrokenOff(t *testing.T) {
	h := newHouse(t)
	h.file("on_stop = \"drain\"")
	pid := h.start()
	c, err := net.Dial("tcp", h.tcp)
	h.must(err)
	defer c.Close()
	_, err = c.Write([]byte("x"))
	h.must(err)
	_, err = c.Read(make([]byte, 1)) // the daemon has a connection to wait for
	h.must(err)
	stop := exec.Command(h.path("goipvsd"), "-c", h.path("goipvs.toml"), "stop")
	stop.Env = append(os.Environ(), asDaemon+"=1")
	h.must(stop.Start())
	h.await("the daemon stops", func() bool { return strings.Contains(h.said(), "event=stopping") })
	h.must(stop.Process.Signal(os.Interrupt))
	var exit *exec.ExitError
	if err := stop.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("stop ended with %v", err)
	}
	if !h.running(pid) {
		t.Error("the daemon did not wait for its connection")
	}
	c.Close()
	h.ends(pid)
}
