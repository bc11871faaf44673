package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
	"github.com/goipvs/goipvs/ipvsadm/socket"
)

const kernelConnections = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n" +
	"TCP 0A000001 9C40 C0000201 0050 0A000002 1F90 ESTABLISHED     899\n"

// cli is goipvs beside the fixture's daemon, on the same kernel.
type cli struct {
	*fixture
	vip  string // an address that is nobody else's
	none bool   // commands find no IPVS
}

// kept is the fixture's kernel, which outlives a command.
type kept struct{ ipvsadm.Kernel }

func (kept) Close() error { return nil }

func newCLI(t *testing.T) *cli { return cliOf(newFixture(t, 1)) }

func cliOf(f *fixture) *cli {
	f.write(f.text(""))
	f.start()
	f.has(0, "1")
	pid := os.Getpid()
	return &cli{fixture: f, vip: fmt.Sprintf("127.77.%d.%d", pid>>7&255, pid<<1&255)}
}

// run is what a user sees of a command: its status, and all that it prints.
func (c *cli) run(in, line string) (status int, out string) {
	var b strings.Builder
	r := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader(in), Stdout: &b, Stderr: &b,
		Dial:            c.dial,
		Daemon:          func() (ipvsadm.Daemon, error) { return socket.Dial(c.path("sock")) },
		OpenConnections: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(kernelConnections)), nil },
	}
	prog, words, _ := strings.Cut(strings.ReplaceAll(line, "VIP", c.vip), " ")
	if prog != "goipvs" {
		r.Prog = prog
	}
	status = r.Run(strings.Fields(words))
	return status, strings.ReplaceAll(b.String(), c.vip, "VIP")
}

func (c *cli) dial() (ipvsadm.Kernel, error) {
	if c.none {
		return nil, ipvs.ErrNoIPVS
	}
	return kept{c.kernel}, nil
}

// does has a command work and print this.
func (c *cli) does(line, want string) {
	c.Helper()
	c.answers(0, line, want)
}

func (c *cli) answers(want int, line, text string) {
	c.Helper()
	if status, out := c.run("", line); status != want || out != text {
		c.Errorf("%s: status %d, want %d\n got %q\nwant %q", line, status, want, out, text)
	}
}

// greeter is a real server that says its name to everybody.
func (c *cli) greeter(name string) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	c.must(err)
	c.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, name+" "+conn.RemoteAddr().String()+"\n")
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// ask is what a client of the service hears; an error is "".
func (c *cli) ask() string {
	conn, err := net.DialTimeout("tcp", c.vip+":8080", 30*time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return line
}

// TestFullNATByCommand: a service is made, serves a client, is listed and saved,
// and goes.
func TestFullNATByCommand(t *testing.T) {
	c := newCLI(t)
	one, two := c.greeter("one"), c.greeter("two")
	c.does("goipvs -A -t VIP:8080 -s rr", "")
	c.does("goipvs -P -t VIP:8080 -z 127.0.0.9", "")
	c.does("goipvs -a -t VIP:8080 -r "+one+" -b -w 3 -x 100 -y 10", "")
	c.does("goipvs -a -t VIP:8080 -r "+two+" --fullnat", "")
	if strings.Contains(c.kernel.String(), c.vip) {
		t.Errorf("the service is still the kernel's:\n%s", c.kernel)
	}
	seen := c.ask() + c.ask()
	if !strings.Contains(seen, "one 127.0.0.9:") || !strings.Contains(seen, "two 127.0.0.9:") {
		t.Errorf("clients heard %q", seen)
	}
	head := "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
	row := func(addr string, weight, inactive int) string {
		return fmt.Sprintf("  -> %-28s FullNat %-6d %-10d %-10d\n", addr, weight, 0, inactive)
	}
	rows := row(one, 3, 1) + row(two, 1, 1)
	if two < one {
		rows = row(two, 1, 1) + row(one, 3, 1)
	}
	c.await("both connections are over", func() bool {
		_, out := c.run("", "goipvs -Ln -t VIP:8080")
		return out == head+"TCP  VIP:8080 rr\n"+rows
	})
	_, saved := c.run("", "goipvs -S -n")
	rules := "-A -t VIP:8080 -s rr --fullnat\n-P -t VIP:8080 -z 127.0.0.9\n"
	if !strings.Contains(saved, rules) || !strings.Contains(saved, "-a -t VIP:8080 -r "+one+" -b -w 3 -x 100 -y 10\n") {
		t.Errorf("-S prints\n%s", saved)
	}
	_, before := c.run("", "goipvs -S -n")
	if status, out := c.run(strings.ReplaceAll(saved, "VIP", c.vip), "ipvsadm-restore"); status != 0 || out != "" {
		t.Errorf("restored on itself: %d, %q", status, out)
	}
	c.does("goipvs -S -n", before)
	c.does("goipvs -D -t VIP:8080", "")
	c.answers(1, "goipvs -Ln -t VIP:8080", "goipvs: read service tcp VIP:8080: no such service\n")
	if heard := c.ask(); heard != "" {
		t.Errorf("after -D clients hear %q", heard)
	}
}

// TestFullNATNoIPVS: without IPVS commands are goipvsd's. The forks' scripts and
// saved rules, which say of what method a service is by its local addresses and
// real servers only, work there, too.
func TestFullNATNoIPVS(t *testing.T) {
	c := newCLI(t)
	c.none = true
	one := c.greeter("one")
	c.does("goipvs -A -t VIP:8080 -s rr", "")
	c.does("goipvs -P -t VIP:8080 -z 127.0.0.9", "")
	c.does("goipvs -a -t VIP:8080 -r "+one+" -b", "")
	if heard := c.ask(); !strings.HasPrefix(heard, "one 127.0.0.9:") {
		t.Errorf("clients hear %q", heard)
	}
	c.does("goipvs -A -u VIP:8082 -o --proxy-protocol v2-every", "")
	if _, out := c.run("", "goipvs -Ln"); !strings.Contains(out, "UDP  VIP:8082 wlc ops ppv2-every\n") || !strings.Contains(out, "TCP  VIP:8080 rr\n") {
		t.Errorf("-Ln prints\n%s", out)
	}
	if heard := c.ask(); heard == "" {
		t.Error("a client hears nothing")
	}
	c.does("goipvs -d -t VIP:8080 -r "+one, "")
	if heard := c.ask(); heard != "" {
		t.Errorf("without a server a client hears %q", heard)
	}
	var st control.Status
	c.must(c.do("status", nil, &st))
	if u := st.Userspace; u == nil || u.Refused != 1 || u.Limit == 0 {
		t.Errorf("user space says %+v, want one connection refused", u)
	}
	c.does("goipvs -A -t VIP:8081 --ensure", "-A -t VIP:8081 -s wlc --fullnat\n")
	c.does("goipvs -A -t VIP:8081 --ensure", "")
	c.answers(255, "goipvs -a -t VIP:8081 -r 127.0.0.1 -m", "goipvs: add destination 127.0.0.1:8081 of tcp VIP:8081: the service is full NAT's, and so are its real servers: -b\n")
	c.does("goipvs -D -t VIP:8081", "")
	c.answers(255, "goipvs -D -t VIP:8081", "goipvs: delete service tcp VIP:8081: no such service\n")
	c.does("goipvs -D -t VIP:8081 --ensure", "")
	c.answers(1, "goipvs -Ln -t VIP:8081", "goipvs: read service tcp VIP:8081: no such service\n")
	c.answers(255, "goipvs -Z -t VIP:8081", "goipvs: zero counters tcp VIP:8081: no such service\n")
	c.does("goipvs -D -t VIP:8080", "")

	rules := strings.NewReplacer("VIP", c.vip, "RS", one).Replace("-A -t VIP:8080 -s rr\n-P -t VIP:8080 -z 127.0.0.9\n-a -t VIP:8080 -r RS -b -w 1\n")
	if status, out := c.run(rules, "goipvs -R"); status != 0 || out != "" {
		t.Errorf("the forks' rules: %d, %q", status, out)
	}
	if heard := c.ask(); !strings.HasPrefix(heard, "one 127.0.0.9:") {
		t.Errorf("after -R clients hear %q", heard)
	}
	c.does("goipvs -D -t VIP:8080", "")
	_, before := c.run("", "goipvs -S -n")
	rules += "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n"
	if status, out := c.run(rules, "goipvs -R"); status == 0 || !strings.HasPrefix(out, "goipvs: the kernel has no IPVS") {
		t.Errorf("rules that need IPVS: %d, %q", status, out)
	}
	c.does("goipvs -S -n", before)
}

// TestFullNATRefused: what is not possible is said in the words of the field and
// changes nothing.
func TestFullNATRefused(t *testing.T) {
	c := newCLI(t)
	c.write(c.text("") + strings.ReplaceAll(`[[virtual]]
name = "filed"
address = "VIP:8081"
forward = "fullnat"
[[virtual.real]]
address = "127.0.0.1:9"
`, "VIP", c.vip))
	c.reload("", "")
	for _, line := range []string{"-A -t VIP:80 -s rr", "-a -t VIP:80 -r 127.0.0.1:1 -m", "-A -t VIP:8080 --fullnat"} {
		c.does("goipvs "+line, "")
	}
	var before string
	c.await("the file's server is down", func() bool {
		_, before = c.run("", "goipvs -S -n")
		return strings.Contains(before, "-a -t VIP:8081 -r 127.0.0.1:9 -b -w 0\n")
	})
	filed := "goipvsd's file names this service\ngoipvs: hint: change the file, then goipvs reload; goipvs drain and weight change a real server for a while\n"
	for _, tt := range []struct {
		line   string
		status int
		text   string
	}{
		{"-a -t VIP:80 -r 127.0.0.1:1 -b", 255, "add destination 127.0.0.1:1 of tcp VIP:80: the service is the kernel's and has real servers by nat; one that has none becomes full NAT's\n"},
		{"-P -t VIP:80 -z 127.0.0.9", 255, "add local address 127.0.0.9 of tcp VIP:80: the service is the kernel's and has real servers by nat; one that has none becomes full NAT's\n"},
		{"-a -t VIP:8080 -r 127.0.0.1:1 -m", 255, "add destination 127.0.0.1:1 of tcp VIP:8080: the service is full NAT's, and so are its real servers: -b\n"},
		{"-a -t VIP:8080 -r 127.0.0.1", 255, "add destination 127.0.0.1:8080 of tcp VIP:8080: the service is full NAT's, and so are its real servers: -b\n"},
		{"-A -t VIP:8080", 255, "add service tcp VIP:8080 wlc: already exists\ngoipvs: hint: -E changes a service; --ensure makes it so either way\n"},
		{"-A -t VIP:80 --fullnat", 255, "add service tcp VIP:80 wlc: already exists in the kernel\ngoipvs: hint: -E changes a service; --ensure makes it so either way\n"},
		{"-A -t VIP:8082 -s wrrr --fullnat", 255, ""},
		{"-a -t VIP:8083 -r 127.0.0.1:1 -b", 255, "add destination 127.0.0.1:1 of tcp VIP:8083: no such service\ngoipvs: hint: -A adds the service\n"},
		{"-e -t VIP:8080 -r 127.0.0.1:1 -b", 255, "update destination 127.0.0.1:1 of tcp VIP:8080: no such destination\ngoipvs: hint: -a adds a real server; --ensure makes it so either way\n"},
		{"-d -t VIP:8080 -r 127.0.0.1:1", 255, "delete destination 127.0.0.1:1 of tcp VIP:8080: no such destination\n"},
		{"-D -t VIP:8083", 255, "delete service tcp VIP:8083: no such service\n"},
		{"-Q -t VIP:8080 -z 127.0.0.9", 255, "delete local address 127.0.0.9 of tcp VIP:8080: no such destination: it has no such local address\n"},
		{"-a -t VIP:8080 -r 127.0.0.1:1 -b -x 1 -y 2", 255, ""},
		{"-a -f 7 -r 127.0.0.1:1 -b", 255, "add destination 127.0.0.1:1 of fwmark 7: no such service\ngoipvs: hint: -A adds the service\n"},
		{"-P -f 7 -z 127.0.0.9", 255, "add local address 127.0.0.9 of fwmark 7: no such service\n"},
		{"-A -u VIP:8084 --proxy-protocol v1", 255, ""},
		{"-A -t VIP:8084 --proxy-protocol v2-every", 255, ""},
		{"-G -t VIP:8083", 1, "get local addresses tcp VIP:8083: no such service\n"},
		{"-Z -t VIP:8083", 255, "zero counters tcp VIP:8083: no such service\n"},
		{"-a -t VIP:8081 -r 127.0.0.1:1 -b", 255, "add destination 127.0.0.1:1 of tcp VIP:8081: " + filed},
		{"-D -t VIP:8081", 255, "delete service tcp VIP:8081: " + filed},
		{"-P -t VIP:8081 -z 127.0.0.9", 255, "add local address 127.0.0.9 of tcp VIP:8081: " + filed},
		{"-a -t 192.0.2.1:80 -r 127.0.0.1:1 -b", 255, "add destination 127.0.0.1:1 of tcp 192.0.2.1:80: " + filed},
	} {
		status, out := c.run("", "goipvs "+tt.line)
		if status != tt.status || tt.text != "" && out != "goipvs: "+tt.text || out == "" {
			t.Errorf("%s: status %d, want %d\n got %q\nwant %q", tt.line, status, tt.status, out, "goipvs: "+tt.text)
		}
	}
	c.does("goipvs -S -n", before)
}

// TestFullNATSurvives: what commands made outlives the daemon and reloads of the
// file, until the file names it.
func TestFullNATSurvives(t *testing.T) {
	c := newCLI(t)
	one := c.greeter("one")
	c.does("goipvs -A -t VIP:8080 -s wlc --fullnat", "")
	c.does("goipvs -a -t VIP:8080 -r "+one+" -b", "")
	serves := func(when string) {
		t.Helper()
		if heard := c.ask(); !strings.HasPrefix(heard, "one ") {
			t.Errorf("%s clients hear %q", when, heard)
		}
	}
	_, before := c.run("", "goipvs -S -n")
	c.reload("", "")
	serves("after a reload")
	c.stop()
	c.start()
	serves("after a restart")
	c.does("goipvs -S -n", before)
	c.write(c.text("") + strings.ReplaceAll(`[[virtual]]
name = "filed"
address = "VIP:8080"
forward = "fullnat"
[virtual.check]
type = "connect"
interval = "1h"
[[virtual.real]]
address = "`+one+`"
`, "VIP", c.vip))
	c.reload("", "")
	if !strings.Contains(c.log.String(), "event=fullnat_claimed") {
		t.Error("nobody is told that the file took the service")
	}
	serves("as the file's")
	if status, out := c.run("", "goipvs -D -t VIP:8080"); status != 255 || !strings.Contains(out, "goipvsd's file names this service") {
		t.Errorf("-D of the file's: %d, %q", status, out)
	}
	c.write(c.text("max_removal = 1.0\n"))
	c.reload("", "")
	c.await("the service is gone", func() bool { _, out := c.run("", "goipvs -Ln"); return !strings.Contains(out, "VIP:8080") })
}

// TestFullNATWithoutDaemon: listings are of the kernel then, and what needs
// goipvsd says so.
func TestFullNATWithoutDaemon(t *testing.T) {
	c := newCLI(t)
	c.does("goipvs -A -t VIP:80 -s rr", "")
	c.stop()
	_, list := c.run("", "goipvs -Ln")
	if !strings.Contains(list, "TCP  VIP:80 rr\n") || strings.Contains(list, "goipvsd") {
		t.Errorf("%s", list)
	}
	hint := "goipvs: hint: start it with \"systemctl start goipvsd\" or \"goipvsd start\"\n"
	for _, line := range []string{"-A -t VIP:8080 --fullnat", "-a -t VIP:80 -r 127.0.0.1 -b", "-P -t VIP:80 -z 127.0.0.1", "-Q -t VIP:80 -z 127.0.0.1", "-G"} {
		c.answers(1, "goipvs "+line, "goipvs: goipvsd does not run, and full NAT is its work\n"+hint)
	}
	c.does("goipvs -D -t VIP:80", "")
	c.answers(255, "goipvs -D -t VIP:80", "goipvs: delete service tcp VIP:80: no such service\n")
	c.does("goipvs -C", "")
	c.does("goipvs -Z", "")
	if _, err := socket.Dial(c.path("sock")); !errors.Is(err, ipvsadm.ErrNotRunning) {
		t.Error(err)
	}
	var _ ipvs.Kernel = c.kernel
}

// apply is goipvs apply, or diff.
func (c *cli) apply(rules string, o ipvsadm.ApplyOptions) (status int, out string) {
	var b strings.Builder
	r := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader(strings.ReplaceAll(rules, "VIP", c.vip)), Stdout: &b, Stderr: &b,
		Dial:   func() (ipvsadm.Kernel, error) { return kept{c.kernel}, nil },
		Daemon: func() (ipvsadm.Daemon, error) { return socket.Dial(c.path("sock")) },
	}
	status = r.Apply(o)
	return status, strings.ReplaceAll(b.String(), c.vip, "VIP")
}

// TestFullNATTables: a rules file is put into effect in the kernel and in full NAT
// as one table, by the fewest changes.
func TestFullNATTables(t *testing.T) {
	c := newCLI(t)
	const both = `-A -t VIP:80 -s rr
-a -t VIP:80 -r 127.0.0.1:1 -m -w 1
-A -t VIP:8080 -s wlc
-P -t VIP:8080 -z 127.0.0.9
-P -t VIP:8080 -z 127.0.0.8
-a -t VIP:8080 -r 127.0.0.1:1 -b -w 1
-A -u VIP:8080 -s rr -p 60 --fullnat --proxy-protocol v2
`
	for _, tt := range []struct {
		name, rules string
		o           ipvsadm.ApplyOptions
		status      int
		out         string
	}{
		{"new", both, ipvsadm.ApplyOptions{}, 0, `-A -t VIP:80 -s rr
-a -t VIP:80 -r 127.0.0.1:1 -m -w 1
-A -t VIP:8080 -s wlc --fullnat
-P -t VIP:8080 -z 127.0.0.9
-P -t VIP:8080 -z 127.0.0.8
-a -t VIP:8080 -r 127.0.0.1:1 -b -w 1
-A -u VIP:8080 -s rr -p 60 --fullnat --proxy-protocol v2
# 7 changes
`},
		{"again", both, ipvsadm.ApplyOptions{}, 0, "# nothing to change\n"},
		{"what would change", strings.NewReplacer("-w 1", "-w 7", "-P -t VIP:8080 -z 127.0.0.9\n", "", " -p 60", "", "protocol v2", "protocol v2-every").Replace(both), ipvsadm.ApplyOptions{DryRun: true}, 0, `-e -t VIP:80 -r 127.0.0.1:1 -m -w 7
-e -t VIP:8080 -r 127.0.0.1:1 -b -w 7
-E -u VIP:8080 -s rr --fullnat --proxy-protocol v2-every
-Q -t VIP:8080 -z 127.0.0.9
# 4 changes to make
`},
		{"one service", "-A -t VIP:8080 -s wlc --fullnat\n-P -t VIP:8080 -z 127.0.0.9\n", ipvsadm.ApplyOptions{}, 0, `-Q -t VIP:8080 -z 127.0.0.8
-d -t VIP:8080 -r 127.0.0.1:1 --fullnat
# 2 changes
`},
		{"mixed methods", "-A -t VIP:81\n-a -t VIP:81 -r 127.0.0.1 -b\n-a -t VIP:81 -r 127.0.0.2 -m\n", ipvsadm.ApplyOptions{}, 2,
			"goipvs: stdin:3: add destination 127.0.0.2:81 of tcp VIP:81: the real servers of a service are all full NAT's (-b) or none\ngoipvs: stdin: nothing was changed\n"},
		{"from the kernel to full NAT", "-A -t VIP:80 -s rr\n-a -t VIP:80 -r 127.0.0.1:1 -b\n", ipvsadm.ApplyOptions{}, 1, ""},
	} {
		if status, out := c.apply(tt.rules, tt.o); status != tt.status || tt.out != "" && out != tt.out {
			t.Errorf("%s: status %d, want %d\n got %s\nwant %s", tt.name, status, tt.status, out, tt.out)
		}
	}
	// Pruning takes what others made, but not what is goipvsd's by its file.
	if status, out := c.apply(strings.ReplaceAll("-A -t WEB:80 -s wlc\n-A -t VIP:80 -s rr\n-a -t VIP:80 -r 127.0.0.1:1 -m -w 1\n", "WEB", "192.0.2.1"), ipvsadm.ApplyOptions{Prune: true, DryRun: true}); status != 0 ||
		!strings.Contains(out, "-D -t VIP:8080 --fullnat\n-D -u VIP:8080 --fullnat\n") {
		t.Errorf("prune: %d\n%s", status, out)
	}
	if status, out := c.run(strings.ReplaceAll("-A -t VIP:8083 -s rr\n-P -t VIP:8083 -z 127.0.0.9\n-a -t VIP:8083 -r 127.0.0.1:1 -b\n-D -t VIP:80\n", "VIP", c.vip), "goipvs -R"); status != 0 || out != "" {
		t.Errorf("-R of what alibaba's ipvsadm saved: %d, %s", status, out)
	}
}

// TestFullNATRestore: the lines of -R are commands, each for itself, in the order
// of the file; wrong ones are named.
func TestFullNATRestore(t *testing.T) {
	c := newCLI(t)
	status, out := c.run(strings.ReplaceAll(`-A -t VIP:8080 --fullnat
-a -t VIP:8080 -r 127.0.0.1:1 -b
-A -t VIP:80
-a -t VIP:8080 -r 127.0.0.1:1 -b
-a -t VIP:80 -r 127.0.0.1:1 -m
-e -t VIP:8080 -r 127.0.0.1:2 -b
-d -t VIP:8080 -r 127.0.0.1:1
-A -t VIP:8081 --fullnat
-D -t VIP:8081
`, "VIP", c.vip), "goipvs -R")
	const want = `goipvs: stdin:4: add destination 127.0.0.1:1 of tcp VIP:8080: already exists
goipvs: hint: -e changes a real server; --ensure makes it so either way
goipvs: stdin:6: update destination 127.0.0.1:2 of tcp VIP:8080: no such destination
goipvs: hint: -a adds a real server; --ensure makes it so either way
`
	if status != 255 || out != want {
		t.Errorf("status %d\n got %s\nwant %s", status, out, want)
	}
	_, saved := c.run("", "goipvs -S -n")
	if want := "-A -t VIP:80 -s wlc\n-a -t VIP:80 -r 127.0.0.1:1 -m -w 1\n-A -t VIP:8080 -s wlc --fullnat\n"; !strings.HasPrefix(saved, want) {
		t.Errorf("afterwards\n%s", saved)
	}
	status, out = c.run("-A -t 127.0.0.1:80\n-a -t 127.0.0.1:8080 -r 127.0.0.1:1 -b -w x\n", "goipvs -R")
	if status == 0 || !strings.Contains(out, "stdin:2: ") || strings.Contains(c.kernel.String(), "127.0.0.1:80 ") {
		t.Errorf("a bad line: %d, %s", status, out)
	}
}

// TestFullNATWholeTable: -Z, --set and -C are for both tables, and goipvsd's file
// keeps what is its own.
func TestFullNATWholeTable(t *testing.T) {
	c := newCLI(t)
	one := c.greeter("one")
	for _, line := range []string{"-A -t VIP:8080 -s rr --fullnat", "-a -t VIP:8080 -r " + one + " -b", "-A -t VIP:80"} {
		c.does("goipvs "+line, "")
	}
	conns := func() string {
		t.Helper()
		_, out := c.run("", "goipvs -Ln --stats -t VIP:8080")
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "TCP  VIP:8080 ") {
				return strings.Fields(line)[2]
			}
		}
		return out
	}
	if c.ask(); conns() != "1" {
		t.Errorf("%s connections counted", conns())
	}
	c.does("goipvs -Z -t VIP:8080", "")
	if conns() != "0" {
		t.Errorf("after -Z -t: %s", conns())
	}
	c.ask()
	c.does("goipvs -Z", "")
	if conns() != "0" {
		t.Errorf("after -Z: %s", conns())
	}
	c.does("goipvs --set 100 20 30", "")
	c.does("goipvs -L --timeout", "Timeout (tcp tcpfin udp): 100 20 30\n")
	conn, err := net.DialTimeout("tcp", c.vip+":8080", 30*time.Second)
	c.must(err)
	defer conn.Close()
	c.await("the connection idles by --set", func() bool {
		_, out := c.run("", "goipvs -Lcn")
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 7 && f[4] == "VIP:8080" && f[1] <= "00:20" {
				return true
			}
		}
		return false
	})
	c.does("goipvs -C", "")
	if _, out := c.run("", "goipvs -Ln"); strings.Contains(out, "VIP") {
		t.Errorf("after -C\n%s", out)
	}
}

// TestFullNATConnections: -Lc shows full NAT's connections with their local
// addresses behind the kernel's columns.
func TestFullNATConnections(t *testing.T) {
	c := newCLI(t)
	one := c.greeter("one")
	for _, line := range []string{"-A -t VIP:8080 -s rr --fullnat", "-P -t VIP:8080 -z 127.0.0.9", "-a -t VIP:8080 -r " + one + " -b"} {
		c.does("goipvs "+line, "")
	}
	none, _ := c.run("", "goipvs -Lcn")
	if _, out := c.run("", "goipvs -Lcn"); none != 0 || strings.Contains(out, "local") {
		t.Errorf("without connections: %d %s", none, out)
	}
	conn, err := net.DialTimeout("tcp", c.vip+":8080", 30*time.Second)
	c.must(err)
	defer conn.Close()
	heard, err := bufio.NewReader(conn).ReadString('\n')
	c.must(err)
	_, out := c.run("", "goipvs -Lcn")
	lines := strings.SplitAfter(out, "\n")
	if lines[2] != "TCP 14:59  ESTABLISHED 10.0.0.1:40000     192.0.2.1:80       10.0.0.2:8080\n" {
		t.Errorf("the kernel's connection is\n%s", lines[2])
	}
	row := strings.Fields(lines[3])
	if lines[1] != "pro expire state       source             virtual            destination        local\n" ||
		len(row) != 7 || row[0] != "TCP" || row[3] != conn.LocalAddr().String() || row[4] != "VIP:8080" || row[5] != one || "one "+row[6]+"\n" != heard {
		t.Errorf("the server heard %q, -Lcn says\n%s", heard, out)
	}
	_, out = c.run("", "goipvs -L -c --json")
	host, port, _ := net.SplitHostPort(strings.TrimSpace(strings.TrimPrefix(heard, "one ")))
	if want := fmt.Sprintf(`"pe":"","pe_data":"","local":"%s","local_port":%s}`, host, port); !strings.Contains(out, want) {
		t.Errorf("no %s in\n%s", want, out)
	}
	_, out = c.run("", "goipvs -G")
	if want := "VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS     \n" +
		"VIP:8080       1       \n" + "                              127.0.0.9            0          1         \n"; strings.ReplaceAll(out, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("-G prints\n%s", out)
	}
	_, out = c.run("", "goipvs -L --json -t VIP:8080")
	if want := `"fullnat":{"managed":false,"proxy_protocol":"","plane":"auto","runs_in":"userspace","locals":[{"address":"127.0.0.9","conns":1,"conflicts":0}]}`; !strings.Contains(out, want) {
		t.Errorf("no %s in\n%s", want, out)
	}
}

// TestFullNATEnsure: made so, and silent when it is.
func TestFullNATEnsure(t *testing.T) {
	c := newCLI(t)
	for _, tt := range []struct{ line, out string }{
		{"-A -t VIP:8080 -s rr --fullnat", "-A -t VIP:8080 -s rr --fullnat\n"},
		{"-A -t VIP:8080 -s rr --fullnat", ""},
		{"-A -t VIP:8080 -s rr", ""},
		{"-E -t VIP:8080 -s wlc", "-E -t VIP:8080 -s wlc --fullnat\n"},
		{"-A -t VIP:8080 --proxy-protocol v2", "-E -t VIP:8080 -s wlc --fullnat --proxy-protocol v2\n"},
		{"-a -t VIP:8080 -r 127.0.0.1:1 -b", "-a -t VIP:8080 -r 127.0.0.1:1 -b -w 1\n"},
		{"-a -t VIP:8080 -r 127.0.0.1:1 -b", ""},
		{"-e -t VIP:8080 -r 127.0.0.1:1 -b -w 0", "-e -t VIP:8080 -r 127.0.0.1:1 -b -w 0\n"},
		{"-P -t VIP:8080 -z 127.0.0.9", "-P -t VIP:8080 -z 127.0.0.9\n"},
		{"-P -t VIP:8080 -z 127.0.0.9", ""},
		{"-Q -t VIP:8080 -z 127.0.0.9", "-Q -t VIP:8080 -z 127.0.0.9\n"},
		{"-Q -t VIP:8080 -z 127.0.0.9", ""},
		{"-d -t VIP:8080 -r 127.0.0.1:1", "-d -t VIP:8080 -r 127.0.0.1:1\n"},
		{"-d -t VIP:8080 -r 127.0.0.1:1", ""},
		{"-D -t VIP:8080", "-D -t VIP:8080\n"},
		{"-D -t VIP:8080", ""},
		{"-A -t VIP:8081", "-A -t VIP:8081 -s wlc\n"},
		{"-a -t VIP:8081 -r 127.0.0.1:1 -b", "-a -t VIP:8081 -r 127.0.0.1:1 -b -w 1\n"},
	} {
		c.does("goipvs "+tt.line+" --ensure", tt.out)
	}
}

// TestFullNATMany: a rules file that is several requests long is put back as it
// was saved.
func TestFullNATMany(t *testing.T) {
	c := newCLI(t)
	const n = 1600 // few enough for the 5 s that a listing waits on a machine that has other work
	var b strings.Builder
	fmt.Fprintf(&b, "-A -t %s:8080 -s wlc --fullnat\n", c.vip)
	for i := range n {
		fmt.Fprintf(&b, "-a -t %s:8080 -r 10.0.%d.%d:80 -b -w %d\n", c.vip, i>>8, i&255, i)
	}
	if status, out := c.run(b.String(), "goipvs -R"); status != 0 || out != "" {
		t.Fatalf("-R: %d, %s", status, out)
	}
	_, saved := c.run("", "goipvs -S -n")
	if !strings.Contains(strings.ReplaceAll(saved, "VIP", c.vip), b.String()) {
		t.Error("what was saved is not what was restored")
	}
	before := strings.Count(c.log.String(), "verb=fullnat ")
	if before < 2 {
		t.Errorf("%d requests, want several", before)
	}
	if status, out := c.run(strings.ReplaceAll(saved, "VIP", c.vip), "ipvsadm-restore"); status != 0 || out != "" {
		t.Errorf("restored on itself: %d, %s", status, out)
	}
	if after := strings.Count(c.log.String(), "verb=fullnat "); after != before {
		t.Errorf("%d requests to change nothing", after-before)
	}
}
