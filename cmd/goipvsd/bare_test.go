package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"golang.org/x/sys/unix"
)

// TestBareKernelWithoutIPVS: on a kernel without IPVS the daemon says so and
// ends, or runs services of NAT in user space when the file asks for it.
func TestBareKernelWithoutIPVS(t *testing.T) {
	if lab.Kind() == "" || lab.HasIPVS() {
		t.Skip("needs a lab without modules: LAB_MODULES=none")
	}
	server, err := net.Listen("tcp", "127.0.0.1:8081")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "hello")
			c.Close()
		}
	}()
	dir := t.TempDir()
	file := filepath.Join(dir, "goipvs.toml")
	launch := func(without string) (*exec.Cmd, *buffer) {
		text := fmt.Sprintf("control = %q\ncontrol_group = \"\"\nstate_dir = %q\nwithout_ipvs = %q\n[check]\ninterval = \"200ms\"\n[[virtual]]\naddress = \"127.0.0.2:8080\"\nforward = \"nat\"\n"+
			"[virtual.check]\ntype = \"connect\"\nport = 8081\n[[virtual.real]]\naddress = \"127.0.0.1:8081\"\n", filepath.Join(dir, "sock"), filepath.Join(dir, "state"), without)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(daemonProgram(), "-c", file)
		cmd.Args[0] = "goipvsd"
		cmd.Env = append(os.Environ(), asDaemon+"=1")
		log := &buffer{}
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, log
	}
	cmd, log := launch("fail")
	ended := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // its status follows
	ended.Stop()
	if got := cmd.ProcessState.ExitCode(); got != failed || !strings.Contains(log.String(), "IPVS") {
		t.Errorf("status %d, want %d and a word of IPVS in\n%s", got, failed, log)
	}

	cmd, log = launch("fullnat")
	defer func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("%v\n%s", err, log)
		}
	}()
	var line string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", "127.0.0.2:8080", patience)
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		line, _ = bufio.NewReader(c).ReadString('\n')
		c.Close()
		if line == "hello\n" {
			break
		}
	}
	if line != "hello\n" || !strings.Contains(log.String(), "event=without_ipvs") {
		t.Errorf("the service said %q", line)
	}
}
