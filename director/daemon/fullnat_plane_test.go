package daemon

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/director/sourcenat"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/internal/testserver"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// natRules is a kernel's NAT in memory, which goes with fixture.kernel.
type natRules struct {
	mu      sync.Mutex
	missing error
	refuse  int // the Keep that is refused, counted from here on; 0: none
	kept    []snat.Service
	tracked []sourcenat.Connection
}

func (n *natRules) Check(snat.Need) error { n.mu.Lock(); defer n.mu.Unlock(); return n.missing }
func (n *natRules) Services() ([]snat.Service, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.kept), n.missing
}
func (n *natRules) Keep(want []snat.Service, _ bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse--; n.refuse == 0 {
		return errors.New("no memory")
	}
	n.kept = slices.Clone(want)
	return n.missing
}
func (n *natRules) Connections(services []snat.Service, each func(*sourcenat.Connection)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.tracked {
		if slices.ContainsFunc(services, func(s snat.Service) bool { return s.Key == n.tracked[i].Service }) {
			each(&n.tracked[i])
		}
	}
	return nil
}
func (*natRules) Differs() (string, error) { return "", nil }
func (n *natRules) Counts() (map[ipvs.ServiceKey]snat.Counts, error) {
	return map[ipvs.ServiceKey]snat.Counts{}, nil
}
func (*natRules) Untrack([]snat.Untracked) (bool, error) { return false, nil }
func (*natRules) Forget(...snat.Service) error           { return nil }
func (n *natRules) served() []snat.Service               { s, _ := n.Services(); return s }
func (n *natRules) text() string                         { s, _ := n.Services(); return fmt.Sprint(s) }

func newPlaneCLI(t *testing.T) (*cli, *natRules) {
	f, n := newFixture(t, 1), &natRules{}
	f.nat = n
	return cliOf(f), n
}

// service is what goipvs status says of tcp VIP:8080.
func (c *cli) service() (s control.ServiceStatus) {
	c.Helper()
	var st control.Status
	c.must(c.do("status", nil, &st))
	for _, s := range st.Services {
		if s.Name == "tcp "+c.vip+":8080" {
			return s
		}
	}
	return s
}

// TestFullNATKernelPlane: a service that a command makes runs in the kernel, is
// listed and saved as full NAT, is mended, moves, and comes back with the daemon.
func TestFullNATKernelPlane(t *testing.T) {
	c, rules := newPlaneCLI(t)
	inKernel := func(want string) {
		t.Helper()
		want = strings.ReplaceAll(want, "VIP", c.vip)
		c.await("the kernel has "+want, func() bool { return strings.Contains(c.kernel.String(), want) })
	}
	c.does("goipvs -A -t VIP:8080 -s rr --plane kernel", "") // what is needed may follow
	c.answers(255, "goipvs -a -t VIP:8080 -r 10.9.0.1:9 -b",
		"goipvs: add destination 10.9.0.1:9 of tcp VIP:8080: it cannot be served here: plane = \"kernel\": no local address of ipv4 is given\n")
	if s := c.service(); s.State != "refused" || !s.ByCommand {
		t.Errorf("%+v", s)
	}
	c.does("goipvs -D -t VIP:8080", "")
	const made = "-A -t VIP:8080 -s rr --fullnat --plane kernel\n-P -t VIP:8080 -z 127.0.0.9\n-a -t VIP:8080 -r 10.9.0.1:9 -b -w 3 -x 100 -y 10\n-a -t VIP:8080 -r 10.9.0.2:9 -b -w 1\n"
	if status, out := c.run(strings.ReplaceAll(made, "VIP", c.vip), "goipvs -R"); status != 0 || out != "" {
		t.Fatalf("-R: %d, %s", status, out)
	}
	inKernel("10.9.0.1:9 nat weight 3")
	if !strings.Contains(rules.text(), c.vip) {
		t.Errorf("rules: %s", rules.text())
	}
	const rows = "TCP  VIP:8080 rr\n  -> 10.9.0.1:9                   FullNat 3      0          0         \n  -> 10.9.0.2:9                   FullNat 1      0          0         \n"
	listed := func(when string) {
		t.Helper()
		_, out := c.run("", "goipvs -Ln")
		if !strings.Contains(out, rows) || strings.Count(out, "VIP:8080") != 1 || !strings.Contains(out, "TCP  192.0.2.1:80 wlc\n  -> "+c.servers[0].Addr().String()) {
			t.Errorf("%s -Ln prints\n%s", when, out)
		}
		if _, out := c.run("", "goipvs -Ln -t VIP:8080"); !strings.HasSuffix(out, rows) {
			t.Errorf("%s -Ln -t prints\n%s", when, out)
		}
		if _, out := c.run("", "goipvs -S -n"); !strings.Contains(out, made) {
			t.Errorf("%s -S prints\n%s", when, out)
		}
	}
	listed("after -R")
	_, out := c.run("", "goipvs -G -t VIP:8080")
	if f := strings.Fields(out); len(f) < 7 || f[5] != "VIP:8080" || f[7] != "127.0.0.9" {
		t.Errorf("-G prints\n%s", out)
	}
	if _, out := c.run("", "goipvs -L --json -t VIP:8080"); !strings.Contains(out, `"fullnat":{"managed":false,"proxy_protocol":"","plane":"kernel","runs_in":"kernel","locals":[{"address":"127.0.0.9"`) {
		t.Errorf("%s", out)
	}
	if status, out := c.apply(made, ipvsadm.ApplyOptions{DryRun: true}); status != 0 || out != "# nothing to change\n" {
		t.Errorf("diff: %d, %s", status, out)
	}
	if s := c.service(); !s.ByCommand || s.Plane != "kernel" || s.PlaneReason != "as asked" || len(s.Locals) != 1 || len(s.Servers) != 2 || s.Servers[0].Method != "fullnat" {
		t.Errorf("%+v", s)
	}

	// Changes go to goipvsd though the kernel knows the service.
	c.does("goipvs -e -t VIP:8080 -r 10.9.0.2:9 -b -w 5", "")
	inKernel("10.9.0.2:9 nat weight 5")
	c.answers(255, "goipvs -a -t VIP:8080 -r 10.9.0.3:9 -m", "goipvs: add destination 10.9.0.3:9 of tcp VIP:8080: the service is full NAT's, and so are its real servers: -b\n")
	c.does("goipvs -e -t VIP:8080 -r 10.9.0.2:9 -b -w 1", "")
	c.does("goipvs -E -t VIP:8080 -s rr --plane kernel", "")

	// What others do to it behind goipvsd's back is mended, with a restart between.
	key := ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort(c.vip+":8080"))
	for _, when := range []string{"after drift", "after a restart"} {
		c.must(c.kernel.Do(ipvs.Change{Op: ipvs.DeleteService, Service: ipvs.Service{ServiceKey: key}}))
		if when == "after a restart" {
			c.stop()
			c.start()
		}
		inKernel("10.9.0.1:9 nat weight 3")
		listed(when)
	}

	// Another plane, and back.
	c.does("goipvs -E -t VIP:8080 -s rr --plane userspace", "")
	c.await("the kernel is left", func() bool { return !strings.Contains(c.kernel.String(), c.vip) })
	if s := c.service(); s.Plane != "userspace" {
		t.Errorf("%+v", s)
	}
	if _, out := c.run("", "goipvs -Ln"); !strings.Contains(out, rows) {
		t.Errorf("in user space -Ln prints\n%s", out)
	}
	c.does("goipvs -E -t VIP:8080 -s rr", "") // auto
	inKernel("10.9.0.1:9 nat weight 3")
	if s := c.service(); s.PlaneReason != "it can do what is asked" {
		t.Errorf("%+v", s)
	}
	c.does("goipvs -E -t VIP:8080 -s rr --proxy-protocol v2", "")
	if s := c.service(); s.Plane != "userspace" || s.PlaneReason != "the kernel cannot do proxy_protocol" {
		t.Errorf("%+v", s)
	}
	c.answers(255, "goipvs -E -t VIP:8080 -s rr --proxy-protocol v2 --plane kernel",
		"goipvs: update service tcp VIP:8080 rr: it cannot be served here: plane = \"kernel\": the kernel cannot do proxy_protocol\n")
	c.does("goipvs -D -t VIP:8080", "")
	c.await("nothing is left", func() bool { return !strings.Contains(c.kernel.String(), c.vip) && rules.text() == "[]" })
}

// TestFullNATMarks: services of firewall marks are made, listed, saved, restored
// and counted as those of addresses, of both families beside each other.
func TestFullNATMarks(t *testing.T) {
	c, rules := newPlaneCLI(t)
	const made = "-A -f 7 -s rr --fullnat\n-P -f 7 -z 127.0.0.9\n-a -f 7 -r 10.9.0.1:0 -b -w 3\n" +
		"-A -f 7 -6 -s rr --fullnat --plane kernel\n-P -f 7 -6 -z ::9\n-a -f 7 -6 -r [fd09::1]:0 -b -w 1\n"
	for line := range strings.Lines(made) {
		c.does("goipvs "+strings.TrimSpace(line), "")
	}
	check := func(when string) {
		t.Helper()
		c.await("the kernel has both", func() bool {
			text := c.kernel.String()
			return strings.Contains(text, "10.9.0.1:0 nat weight 3") && strings.Contains(text, "[fd09::1]:0 nat weight 1")
		})
		if _, out := c.run("", "goipvs -S -n"); !strings.Contains(out, made) {
			t.Errorf("%s -S prints\n%s", when, out)
		}
		_, out := c.run("", "goipvs -Ln")
		for _, want := range []string{
			"FWM  7 rr\n  -> 10.9.0.1:0                   FullNat 3      0          0         \n",
			"FWM  7 IPv6 rr\n  -> [fd09::1]:0                  FullNat 1      0          0         \n",
		} {
			if strings.Count(out, want) != 1 {
				t.Errorf("%s -Ln prints\n%s", when, out)
			}
		}
	}
	check("after commands")
	if text := rules.text(); !strings.Contains(text, "10.9.0.1:0") || !strings.Contains(text, "127.0.0.9") {
		t.Errorf("rules: %s", text)
	}
	rules.mu.Lock()
	rules.tracked = []sourcenat.Connection{{
		Service: ipvs.MarkService(7, ipvs.IPv4), Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("192.0.2.7:1"), Virtual: netip.MustParseAddrPort("192.0.2.10:80"),
		Server: netip.MustParseAddrPort("10.9.0.1:80"), Local: netip.MustParseAddrPort("127.0.0.9:1"),
	}}
	rules.mu.Unlock()
	_, out := c.run("", "goipvs -G -f 7")
	if f := strings.Fields(out); len(f) != 11 || f[6] != "7" || f[8] != "127.0.0.9" || f[10] != "1" {
		t.Errorf("-G prints\n%s", out)
	}
	c.does("goipvs -Z -f 7", "")
	c.stop()
	c.start()
	check("after a restart")
	c.does("goipvs -D -f 7", "")
	c.does("goipvs -D -f 7 -6", "")
	c.await("nothing is left", func() bool { return !strings.Contains(c.kernel.String(), "fwmark 7") && rules.text() == "[]" })
	if status, out := c.run(made, "goipvs -R"); status != 0 || out != "" {
		t.Fatalf("-R: %d, %s", status, out)
	}
	check("after -R")
}

// TestFullNATRestoreRefused: where the kernel refuses the rules of one of a long
// file's requests, that one's services are not made, each of its lines is told,
// and those before it and behind it are served.
func TestFullNATRestoreRefused(t *testing.T) {
	c, rules := newPlaneCLI(t)
	const services = 1500
	var text strings.Builder
	for i := range services {
		fmt.Fprintf(&text, "-A -t 10.%d.%d.1:80 -s rr --fullnat --plane kernel\n-P -t 10.%[1]d.%[2]d.1:80 -z 127.0.0.9\n", 100+i>>8, i&255)
	}
	rules.mu.Lock()
	rules.refuse = 2
	rules.mu.Unlock()
	status, out := c.run(text.String(), "goipvs -R")
	told := strings.Count(out, "\n")
	if status != 255 || told < 1000 || told >= 2*services || strings.Count(out, "no memory") != told {
		t.Fatalf("status %d, %d lines are told, %d of them of the kernel\n%.500s", status, told, strings.Count(out, "no memory"), out)
	}
	first, last := services, 0 // refused
	for i := range services {
		if strings.Contains(out, fmt.Sprintf("tcp 10.%d.%d.1:80", 100+i>>8, i&255)) {
			first, last = min(first, i), i
		}
	}
	_, saved := c.run("", "goipvs -S -n")
	for i := range services {
		vip := fmt.Sprintf("10.%d.%d.1:80", 100+i>>8, i&255)
		// The first and the last may have lines in two requests.
		if served := strings.Contains(saved, "-A -t "+vip+" "); i != first && i != last && served == (first < i && i < last) {
			t.Fatalf("of services %d to %d is told that they are refused, and %d is there: %v", first, last, i, served)
		}
	}
	if first == 0 || last == services-1 {
		t.Errorf("refused are %d to %d: this proves nothing", first, last)
	}
	if n := len(rules.served()); n != strings.Count(saved, "-P ") {
		t.Errorf("there are rules of %d services, and %d have local addresses", n, strings.Count(saved, "-P "))
	}
}

// TestFullNATKernelMissing: where the kernel cannot do it auto is user space, and
// a restart there keeps a service that insists, with the reason, for a better day.
func TestFullNATKernelMissing(t *testing.T) {
	c, rules := newPlaneCLI(t)
	for _, line := range []string{"-A -t VIP:8080 --fullnat", "-P -t VIP:8080 -z 127.0.0.9", "-E -t VIP:8080 --plane kernel", "-a -t VIP:8080 -r 10.9.0.1:9 -b -w 7"} {
		c.does("goipvs "+line, "")
	}
	const saved = "-A -t VIP:8080 -s wlc --fullnat --plane kernel\n-P -t VIP:8080 -z 127.0.0.9\n-a -t VIP:8080 -r 10.9.0.1:9 -b -w 7\n"
	c.stop()
	rules.mu.Lock()
	rules.missing = errors.New("no NAT today")
	rules.mu.Unlock()
	c.start()
	if s := c.service(); s.State != "refused" || !strings.Contains(s.PlaneReason, "no NAT today") {
		t.Errorf("%+v", s)
	}
	if _, out := c.run("", "goipvs -S -n"); !strings.Contains(out, saved) {
		t.Errorf("-S prints\n%s", out)
	}
	c.answers(255, "goipvs -A -t VIP:8081 --plane kernel", // which no command that follows could mend
		"goipvs: add service tcp VIP:8081 wlc: it cannot be served here: plane = \"kernel\": no NAT today\n")
	c.answers(255, "goipvs -A -f 9 -6 --plane kernel", // nor has anybody needed this before
		"goipvs: add service fwmark 9 ipv6 wlc: it cannot be served here: plane = \"kernel\": no NAT today\n")
	if _, out := c.run("", "goipvs -S -n"); strings.Contains(out, ":8081") || strings.Contains(out, "-f 9") {
		t.Errorf("-S prints\n%s", out)
	}
	c.does("goipvs -E -t VIP:8080", "")
	if s := c.service(); s.Plane != "userspace" || s.PlaneReason != "no NAT today" {
		t.Errorf("%+v", s)
	}
}

// TestFullNATOperated: services of commands are in status, explain and the
// metrics, and their real servers are drained, weighed and maintained as the
// file's are.
func TestFullNATOperated(t *testing.T) {
	c := newCLI(t)
	port := testserver.Port(t)
	c.write(c.text(fmt.Sprintf("http = \"127.0.0.1:%d\"\n", port)))
	c.reload("", "")
	one, two := c.greeter("one"), c.greeter("two")
	for _, line := range []string{"-A -t VIP:8080 -s rr --fullnat", "-P -t VIP:8080 -z 127.0.0.9", "-a -t VIP:8080 -r " + one + " -b -w 3", "-a -t VIP:8080 -r " + two + " -b"} {
		c.does("goipvs "+line, "")
	}
	c.ask()
	at := func(server string) control.ServerStatus {
		t.Helper()
		for _, s := range c.service().Servers {
			if s.Address == server {
				return s
			}
		}
		return control.ServerStatus{}
	}
	c.await("the connection is counted", func() bool {
		a, b := at(one).Stats, at(two).Stats
		return a != nil && b != nil && a.Connections+b.Connections == 1
	})
	if s := c.service(); !s.ByCommand || s.State != "up" || s.Plane != "userspace" || !slices.Equal(s.Locals, []string{"127.0.0.9"}) || s.Capacity != 4 {
		t.Errorf("%+v", s)
	}
	var x control.Explanation
	c.must(c.do("explain", control.ExplainArgs{Subject: c.vip + ":8080"}, &x))
	if len(x.Services) != 1 || !x.Services[0].ByCommand || len(x.Services[0].Timeline) == 0 {
		t.Errorf("%+v", x)
	}
	c.await("the metrics have it", func() bool {
		r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		if err != nil {
			return false
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return strings.Contains(string(b), fmt.Sprintf("goipvs_service_by_command{address=%q,service=%q} 1", "tcp "+c.vip+":8080", "tcp "+c.vip+":8080")) &&
			strings.Contains(string(b), fmt.Sprintf("goipvs_server_connections_total{address=%q,server=%q", "tcp "+c.vip+":8080", one))
	})

	weight := int32(9)
	c.must(c.do("weight", control.ServerArgs{Server: one, Service: c.vip + ":8080", Weight: &weight}, nil))
	row := func(server string, weight int) string { return fmt.Sprintf("  -> %-28s FullNat %-6d ", server, weight) }
	lists := func(want string) {
		t.Helper()
		c.await("-Ln has "+want, func() bool { _, out := c.run("", "goipvs -Ln"); return strings.Contains(out, want) })
	}
	lists(row(one, 9))
	c.must(c.do("drain", control.ServerArgs{Server: two}, nil))
	c.await("the drained one is out", func() bool { return at(two).Place == "out" })
	lists(row(two, 0)) // it is still one of the service's
	if heard := c.ask() + c.ask(); strings.Contains(heard, "two") {
		t.Errorf("a drained server answered: %s", heard)
	}
	c.stop()
	c.start()
	if s := at(two); s.Override == nil || s.Place != "out" {
		t.Errorf("after a restart: %+v", s)
	}
	c.must(c.do("enable", control.ServerArgs{Server: two}, nil))
	c.must(c.do("maintain", control.ServerArgs{Server: one, Reason: "disk"}, nil))
	lists(row(two, 1))
	lists(row(one, 0))
	// A server that is deleted and added again is a new one.
	c.does("goipvs -d -t VIP:8080 -r "+one, "")
	c.does("goipvs -a -t VIP:8080 -r "+one+" -b -w 2", "")
	lists(row(one, 2))
	if s := at(one); s.Override != nil || s.Verdict != "unchecked" {
		t.Errorf("%+v", s)
	}
}
