package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
	"github.com/goipvs/goipvs/ipvsadm/socket"
)

// TestKernelFullNATByCommand: commands make services of both planes beside each
// other; one that was the kernel's is moved, and serves real servers that know no
// way to the client.
func TestKernelFullNATByCommand(t *testing.T) {
	if lab.Kind() != "uml" {
		t.Skip("where the kernel has NAT by nf_tables: TestKernelPlaneCommands")
	}
	r := newRig(t, topo.Spec{Servers: 3})
	serveAll(r)
	r.file(`
[[virtual]]
name      = "filed"
address   = "192.0.2.10:81"
forward   = "nat"
[[virtual.real]]
address   = "10.9.0.13:80"
`)
	r.start()
	const filed = `
		tcp 192.0.2.10:81 wlc
		  10.9.0.13:80 nat 1`
	r.becomes(filed)
	do := r.oneShot
	do(0, "", "-A -t 192.0.2.10:80 -s rr")
	r.becomes("tcp 192.0.2.10:80 rr" + filed)
	do(0, "", "-a -t 192.0.2.10:80 -r 10.9.0.11 -b")
	r.becomes(filed)
	do(0, "", "-a -t 192.0.2.10:80 -r 10.9.0.12 -b")
	do(0, "", "-P -t 192.0.2.10:80 -z "+r.net.Director.Addr4.String())
	r.bothByFullNAT(4)
	list := do(0, "", "-Ln")
	for _, want := range []string{"IP Virtual Server version 1.2.1", "TCP  192.0.2.10:80 rr\n", "  -> 10.9.0.11:80                 FullNat 1 ", "TCP  192.0.2.10:81 wlc\n", "  -> 10.9.0.13:80                 Masq    1 "} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	conns := do(0, "", "-Lcn")
	if !strings.Contains(conns, " 192.0.2.10:80      10.9.0.11:80       "+r.net.Director.Addr4.String()+":") {
		t.Errorf("-Lcn lists\n%s", conns)
	}
	rules := do(0, "", "-S -n")
	do(0, "", "-C")
	r.becomes(filed) // goipvsd repairs what is its own
	if who := r.ask(vipPort); who != "" {
		t.Errorf("after -C %s answers", who)
	}
	mine, _, _ := strings.Cut(rules, "-A -t 192.0.2.10:81")
	do(0, mine, "-R")
	if who := r.ask(vipPort); who != "rs1" && who != "rs2" {
		t.Errorf("after -R %q answers", who)
	}
	do(255, "", "-a -t 192.0.2.10:81 -r 10.9.0.11 -b")
	do(0, "", "-D -t 192.0.2.10:80")
	if list := do(0, "", "-Ln"); strings.Contains(list, "192.0.2.10:80") {
		t.Errorf("after -D\n%s", list)
	}
}

// TestKernelFullNATFollows: full NAT in user space goes by the kernel's timeouts
// and variables, whoever sets them.
func TestKernelFullNATFollows(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 2})
	serveAll(r)
	r.must(r.net.Director.Do(func() error {
		k, err := ipvs.Dial(ipvs.Options{})
		if err != nil {
			return err
		}
		defer k.Close()
		return k.SetTimeouts(ipvs.Timeouts{TCP: 200 * time.Second})
	}))
	r.file(fmt.Sprintf("[[virtual]]\naddress = %q\npersistent = \"5m\"\nunchecked = \"up\"\nforward = \"fullnat\"\n[virtual.fullnat]\nplane = \"userspace\"\n"+
		"[[virtual.real]]\naddress = %q\n[[virtual.real]]\naddress = %q\n", vipPort, rip(1), rip(2)))
	r.start()
	var was string
	r.await("a server", func() bool { was = r.ask(vipPort); return was != "" })
	c, err := r.net.Client.Dial(t.Context(), "tcp", netip.AddrPort{}, vipPort)
	r.must(err)
	defer c.Close()
	_, err = c.Ask(t.Context())
	r.must(err)
	if conns := r.oneShot(0, "", "-Lcn"); !strings.Contains(conns, "TCP 03:20  ESTABLISHED ") && !strings.Contains(conns, "TCP 03:19  ESTABLISHED ") {
		t.Errorf("with a timeout of 200 s:\n%s", conns)
	}
	addr := map[string]string{"rs1": rip(1), "rs2": rip(2)}[was]
	r.ok("weight", addr, "0")
	if who := r.ask(vipPort); who != was {
		t.Errorf("with a weight of 0 its client goes from %s to %q", was, who)
	}
	r.must(r.net.Director.Sysctl("net.ipv4.vs.expire_quiescent_template", "1"))
	r.await("its client goes elsewhere", func() bool { who := r.ask(vipPort); return who != "" && who != was })
}

// oneShot runs a command of ipvsadm's language on the director.
func (r *rig) oneShot(want int, in, line string) string {
	r.Helper()
	var out bytes.Buffer
	p := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader(in), Stdout: &out, Stderr: &out,
		Dial:   func() (ipvsadm.Kernel, error) { return ipvs.Dial(ipvs.Options{}) },
		Daemon: func() (ipvsadm.Daemon, error) { return socket.Dial(r.path("sock")) }}
	status := 0
	r.must(r.net.Director.Do(func() error { status = p.Run(strings.Fields(line)); return nil }))
	if status != want {
		r.Fatalf("goipvs %s: status %d, want %d\n%s", line, status, want, &out)
	}
	return out.String()
}

// TestFullNATPrograms: goipvs and goipvsd as they are installed, on a machine
// without IPVS.
func TestFullNATPrograms(t *testing.T) {
	if k, err := ipvs.Dial(ipvs.Options{}); !errors.Is(err, ipvs.ErrNoIPVS) {
		if err == nil {
			k.Close()
		}
		t.Skip("this machine has an IPVS, which is not ours; the lab's is for TestKernelFullNATByCommand")
	}
	dir := t.TempDir()
	goipvs := filepath.Join(dir, "goipvs")
	if out, err := exec.Command("go", "build", "-tags", "goipvs_split", "-o", goipvs, "../goipvs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sock, file := filepath.Join(dir, "sock"), filepath.Join(dir, "goipvs.toml")
	pid := os.Getpid()
	vip := fmt.Sprintf("127.78.%d.%d", pid>>7&255, pid<<1&255)
	text := fmt.Sprintf("control = %q\ncontrol_group = \"\"\nstate_dir = %q\nwithout_ipvs = \"fullnat\"\n", sock, filepath.Join(dir, "state"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in := "" // of the commands
	run := func(want int, line string) string {
		t.Helper()
		cmd := exec.Command(goipvs, strings.Fields(strings.ReplaceAll(line, "VIP", vip))...)
		cmd.Env = append(os.Environ(), "GOIPVS_SOCKET="+sock)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("goipvs %s: %v, want status %d\n%s", line, err, want, out)
		}
		return string(out)
	}
	if out := run(1, "-A -t VIP:8080 --fullnat"); !strings.Contains(out, "goipvsd does not run") || !strings.Contains(out, "goipvsd start") {
		t.Errorf("without goipvsd: %s", out)
	}
	run(2, "-Ln") // neither IPVS nor goipvsd
	if os.Getuid() == 0 {
		out, _ := exec.Command("unshare", "-m", "sh", "-c", "mount -t tmpfs none /proc && exec "+goipvs+" status").CombinedOutput()
		if !strings.HasSuffix(string(out), "goipvs: hint: is /proc mounted? mount -t proc proc /proc\n") {
			t.Errorf("without /proc: %s", out)
		}
	}
	start := func() *exec.Cmd {
		t.Helper()
		d := exec.Command("/proc/self/exe", "-c", file)
		d.Env = append(os.Environ(), asDaemon+"=1")
		log := &buffer{}
		d.Stderr = log
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Process.Kill(); _ = d.Wait() })
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			cmd := exec.Command(goipvs, "-Ln")
			cmd.Env = append(os.Environ(), "GOIPVS_SOCKET="+sock)
			if cmd.Run() == nil {
				return d
			}
			if time.Now().After(end) {
				t.Fatalf("goipvsd does not answer:\n%s", log)
			}
		}
	}
	d := start()
	server, err := net.Listen("tcp", "127.0.0.1:0")
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
			_, _ = io.WriteString(c, "hello\n")
			c.Close()
		}
	}()
	rs := server.Addr().String()
	heard := func() string {
		c, err := net.DialTimeout("tcp", vip+":8080", patience)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		b, _ := io.ReadAll(c)
		return string(b)
	}
	run(0, "-A -t VIP:8080 -s rr --fullnat")
	run(0, "-a -t VIP:8080 -r "+rs+" -b -w 2")
	if got := heard(); got != "hello\n" {
		t.Errorf("a client hears %q", got)
	}
	head := "IP Virtual Server: none in the kernel, full NAT of goipvsd\nProt LocalAddress:Port Scheduler Flags\n"
	if out := run(0, "-Ln"); !strings.HasPrefix(out, head) || !strings.Contains(out, "TCP  "+vip+":8080 rr\n") || !strings.Contains(out, "FullNat 2 ") {
		t.Errorf("-Ln prints\n%s", out)
	}
	run(0, "--set 100 0 0")
	run(0, "--set 0 0 50")
	// It outlives a goipvsd that is killed.
	_ = d.Process.Kill()
	_ = d.Wait()
	start()
	for end := time.Now().Add(patience); heard() != "hello\n"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a restart a client hears %q", heard())
		}
	}
	if out, want := run(0, "-L --timeout"), "Timeout (tcp tcpfin udp): 100 120 50\n"; out != want {
		t.Errorf("after a restart: %swant %s", out, want)
	}
	run(0, "-D -t VIP:8080")
	if out := run(0, "-Ln"); strings.Contains(out, vip) {
		t.Errorf("after -D\n%s", out)
	}
	// A rules file, and one with what only IPVS can do.
	saved := strings.ReplaceAll("-A -t VIP:8080 -s rr --fullnat\n-P -t VIP:8080 -z 127.0.0.1\n-a -t VIP:8080 -r 127.0.0.1:80 -b -w 2\n", "VIP", vip)
	in = saved
	run(0, "-R")
	if out := run(0, "-Sn"); out != saved {
		t.Errorf("after -R of\n%s-Sn prints\n%s", saved, out)
	}
	run(0, "-C")
	in = saved + strings.ReplaceAll("-A -t VIP:8081 -s rr\n", "VIP", vip)
	if out := run(2, "-R"); !strings.Contains(out, "no IPVS") {
		t.Errorf("-R with a service of IPVS: %s", out)
	}
}
