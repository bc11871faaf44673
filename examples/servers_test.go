package examples

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab"
)

// TestAnsibleServers: an operator's word is changed when it is said, and ok when
// it stands already.
func TestAnsibleServers(t *testing.T) {
	if lab.Kind() != "" {
		t.Skip("Ansible runs beside the lab, not in it")
	}
	bin := t.TempDir()
	for name, pkg := range map[string]string{"goipvs": "../cmd/goipvs", "goipvs-verbs": "../cmd/goipvs-verbs", "goipvsd": "../cmd/goipvsd"} {
		build(t, filepath.Join(bin, name), pkg)
	}
	sock := startDaemon(t, filepath.Join(bin, "goipvsd"))
	p := newPlaybook(t, "servers.yml", map[string]map[string]any{"lb1": {"goipvs_program": filepath.Join(bin, "goipvs")}})
	p.env = append(p.env, "GOIPVS_SOCKET="+sock)
	drain := vars(`{"goipvs_server": "127.0.0.11:80", "goipvs_word": "drain", "goipvs_reason": "new disk"}`)
	for i, want := range []string{"changed", "ok"} {
		if o := p.run(t, drain); cmp.Diff(only("lb1", want), o.hosts) != "" {
			t.Errorf("run %d: %v, want %s\n%s", i+1, o.hosts, want, o.text)
		}
	}
	const wrong = "no such real server: 127.0.0.12:80"
	if o := p.run(t, vars(`{"goipvs_server": "127.0.0.12:80", "goipvs_word": "drain"}`)); o.hosts["lb1"] != "failed" || !strings.Contains(o.text, wrong) {
		t.Errorf("of a server that is not there: %v\n%s", o.hosts, o.text)
	}
}

// startDaemon starts goipvsd with a service of user space, and returns its socket.
func startDaemon(t *testing.T, goipvsd string) (sock string) {
	t.Helper()
	dir := t.TempDir()
	sock, file, systemd := filepath.Join(dir, "s"), filepath.Join(dir, "goipvs.toml"), filepath.Join(dir, "n")
	pid := os.Getpid()
	text := fmt.Sprintf(`control = %q
control_group = ""
state_dir = %q
without_ipvs = "fullnat"
[[virtual]]
name = "web"
address = "127.79.%d.%d:18080"
forward = "fullnat"
[virtual.fullnat]
plane = "userspace"
[virtual.check]
type = "on"
[[virtual.real]]
address = "127.0.0.11:80"
`, sock, filepath.Join(dir, "state"), pid>>7&255, pid<<1&255)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: systemd, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var log bytes.Buffer
	d := exec.Command(goipvsd, "-c", file)
	d.Env, d.Stderr = append(os.Environ(), "NOTIFY_SOCKET="+systemd), &log
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Wait(); l.Close() }()
	t.Cleanup(func() {
		_ = d.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil || t.Failed() {
			t.Errorf("goipvsd: %v\n%s", err, &log)
		}
	})
	_ = l.SetReadDeadline(time.Now().Add(time.Minute))
	for b := make([]byte, 4096); ; {
		n, err := l.Read(b)
		if err != nil {
			t.Fatal("goipvsd does not get ready: ", err)
		}
		if bytes.Contains(b[:n], []byte("READY=1")) {
			return sock
		}
	}
}
