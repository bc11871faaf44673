package daemon

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
	"github.com/goipvs/goipvs/ipvsadm/socket"
)

// cli is goipvs beside the fixture's daemon, on the same kernel.
type cli struct {
	*fixture
	vip string // an address that is nobody else's
}

// kept is the fixture's kernel, which outlives a command.
type kept struct{ ipvsadm.Kernel }

func (kept) Close() error { return nil }

func newCLI(t *testing.T, more string) *cli {
	f := newFixture(t, 1)
	f.write(f.text(more))
	f.start()
	f.has(0, "1")
	pid := os.Getpid()
	return &cli{f, fmt.Sprintf("127.77.%d.%d", pid>>7&255, pid<<1&255)}
}

// run is what a user sees of a command: its status, and all that it prints.
func (c *cli) run(in, line string) (status int, out string) {
	var b strings.Builder
	r := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader(in), Stdout: &b, Stderr: &b,
		Dial:   func() (ipvsadm.Kernel, error) { return kept{c.kernel}, nil },
		Daemon: func() (ipvsadm.Daemon, error) { return socket.Dial(c.path("sock")) },
	}
	prog, words, _ := strings.Cut(strings.ReplaceAll(line, "VIP", c.vip), " ")
	if prog != "goipvs" {
		r.Prog = prog
	}
	status = r.Run(strings.Fields(words))
	return status, strings.ReplaceAll(b.String(), c.vip, "VIP")
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

// ask is what a client of a service hears; an error is "".
func (c *cli) ask(service string) string {
	conn, err := net.DialTimeout("tcp", strings.ReplaceAll(service, "VIP", c.vip), 30*time.Second)
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
	c := newCLI(t, "")
	one, two := c.greeter("one"), c.greeter("two")
	c.does("goipvs -A -t VIP:8080 -s rr", "")
	c.does("goipvs -P -t VIP:8080 -z 127.0.0.9", "")
	c.does("goipvs -a -t VIP:8080 -r "+one+" -b -w 3 -x 100 -y 10", "")
	c.does("goipvs -a -t VIP:8080 -r "+two+" --fullnat", "")
	if strings.Contains(c.kernel.String(), c.vip) {
		t.Errorf("the service is still the kernel's:\n%s", c.kernel)
	}
	seen := c.ask("VIP:8080") + c.ask("VIP:8080")
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
	if heard := c.ask("VIP:8080"); heard != "" {
		t.Errorf("after -D clients hear %q", heard)
	}
}

// TestFullNATRefused: what is not possible is said in the words of the field and
// changes nothing.
func TestFullNATRefused(t *testing.T) {
	c := newCLI(t, "")
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
		{"-A -f 7 --fullnat", 255, "add service fwmark 7 wlc: not possible in user space: a firewall mark has no address to listen on\n"},
		{"-A -u VIP:8084 --proxy-protocol v1", 255, ""},
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
	c := newCLI(t, "")
	one := c.greeter("one")
	c.does("goipvs -A -t VIP:8080 -s wlc --fullnat", "")
	c.does("goipvs -a -t VIP:8080 -r "+one+" -b", "")
	serves := func(when string) {
		t.Helper()
		if heard := c.ask("VIP:8080"); !strings.HasPrefix(heard, "one ") {
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
unchecked = "up"
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
	c := newCLI(t, "")
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
	if _, err := socket.Dial(c.path("sock")); err != ipvsadm.ErrNotRunning {
		t.Error(err)
	}
	var _ ipvs.Kernel = c.kernel
}
