package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/cmd/goipvs/verbs"
	"github.com/goipvs/goipvs/fullnat/tproxy"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
	"github.com/goipvs/goipvs/ipvsadm/socket"
)

// inSpace says that the test binary runs in a network namespace of its own.
const inSpace = "GOIPVSD_TEST_SPACE"

// ownSpace has a test run in a network namespace of its own, by this binary
// started once more, and tells whether this is that run.
func ownSpace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inSpace) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("makes a network namespace: needs root")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), inSpace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("%s", out)
	}
	return false
}

// sample is the configuration that keepalived comes with for firewall marks.
const sample = `
virtual_server fwmark 1 {
  delay_loop 6
  lb_algo rr
  lb_kind NAT
  persistence_timeout 900
  protocol TCP

  real_server 192.168.201.100 {
    weight 1
    TCP_CHECK {
      connect_port    80
      connect_timeout 3
    }
  }

  real_server 192.168.201.101 {
    weight 1
    TCP_CHECK {
      connect_port    80
      connect_timeout 3
    }
  }
}
`

// TestKernelPlaneDiverted: a configuration with a firewall mark, as keepalived
// has it, runs on a machine without IPVS (in the lab: in user space beside it),
// and so do services of a mark and of port 0 that commands make. Persistence goes
// by the client for all ports. Rules that others take away come back; a
// connection lives through an upgrade; a daemon that was killed begins again;
// what is removed leaves nothing.
func TestKernelPlaneDiverted(t *testing.T) {
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no TPROXY by nf_tables")
	}
	if !ownSpace(t) {
		return
	}
	if err := tproxy.Check(ipvs.IPv4); err != nil && lab.Kind() == "" {
		t.Skip(err)
	}
	r := &rig{T: t, dir: t.TempDir(), log: &buffer{}, patience: patience}
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			t.Logf("log of goipvsd:\n%s", r.log)
		}
	})
	lo, err := netlink.LinkByName("lo")
	r.must(err)
	r.must(netlink.LinkSetUp(lo))
	servers := []netip.Addr{netip.MustParseAddr("192.168.201.100"), netip.MustParseAddr("192.168.201.101")}
	vips := []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12")}
	for _, a := range append(slices.Clone(servers), vips...) {
		r.must(netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}}))
	}
	for _, a := range servers {
		for _, port := range []string{"80", "443"} {
			s := &named{r: r, name: a.String() + ":" + port}
			s.open(s.name)
			t.Cleanup(s.close)
		}
	}
	markTo(t, vips[0], 1)
	markTo(t, vips[1], 8)

	r.must(os.WriteFile(r.path("keepalived.conf"), []byte(sample), 0o600))
	var imported, lost strings.Builder
	if status := verbs.Run([]string{"goipvs", "import", "keepalived", r.path("keepalived.conf")}, "test", nil, &imported, &lost); status != 0 {
		t.Fatalf("import: status %d\n%s%s", status, &imported, &lost)
	}
	text := imported.String()
	if lab.Kind() != "" {
		text = strings.Replace(text, `forward = "nat"`, "forward = \"fullnat\"\nfullnat = { plane = \"userspace\" }", 1)
	}
	r.must(os.WriteFile(r.path("goipvs.toml"), []byte(r.head()+"without_ipvs = \"fullnat\"\nreconcile = \"1s\"\n"+text), 0o600))
	r.start()
	for _, a := range servers {
		r.await(a.String()+" is in", func() bool {
			return strings.Contains(r.ok("status"), a.String()) && strings.Count(r.ok("status"), " in ") >= 2
		})
	}

	// One server for all ports of the mark.
	ask := func(vip netip.Addr, port uint16) (server, at string) {
		t.Helper()
		c, _, who := r.call(netip.AddrPortFrom(vip, port).String())
		c.Close()
		server, at, _ = strings.Cut(who, ":")
		return server, at
	}
	together := func(vip netip.Addr) string {
		t.Helper()
		first, at := ask(vip, 80)
		second, at2 := ask(vip, 443)
		if first != second || at != "80" || at2 != "443" {
			t.Errorf("%s: port 80 goes to %s:%s, 443 to %s:%s", vip, first, at, second, at2)
		}
		return first
	}
	was := together(vips[0])
	if out := r.ok("status"); !strings.Contains(out, "fwmark 1") || strings.Contains(out, "REFUSED") {
		t.Error(out)
	}
	if out := r.ok("explain", was); !strings.Contains(out, "fwmark 1") {
		t.Error(out)
	}

	// Commands.
	do := func(want int, line string) string {
		t.Helper()
		var out bytes.Buffer
		p := ipvsadm.Runner{Prog: "goipvs", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
			Dial:   func() (ipvsadm.Kernel, error) { return ipvs.Dial(ipvs.Options{}) },
			Daemon: func() (ipvsadm.Daemon, error) { return socket.Dial(r.path("sock")) }}
		if status := p.Run(strings.Fields(line)); status != want {
			t.Fatalf("goipvs %s: status %d, want %d\n%s", line, status, want, &out)
		}
		return out.String()
	}
	made := "-A -f 8 -s rr --fullnat --plane userspace\n-a -f 8 -r 192.168.201.100:80 -b -w 1\n-a -f 8 -r 192.168.201.101:80 -b -w 1\n" +
		"-A -t 192.0.2.12:0 -s wlc -p 300 --fullnat --plane userspace\n-a -t 192.0.2.12:0 -r 192.168.201.100:0 -b -w 1\n-a -t 192.0.2.12:0 -r 192.168.201.101:0 -b -w 1\n"
	for line := range strings.Lines(made) {
		do(0, line)
	}
	byCommand := func() {
		t.Helper()
		seen := map[string]bool{}
		for range 4 {
			server, at := ask(vips[1], 443)
			seen[server+":"+at] = true
		}
		if len(seen) != 2 || !seen["192.168.201.100:80"] {
			t.Errorf("the mark of commands goes to %v", seen)
		}
		together(vips[2])
	}
	byCommand()
	saved := do(0, "-S -n")
	for line := range strings.Lines(made) {
		if !strings.Contains(saved, line) {
			t.Errorf("no %q in\n%s", line, saved)
		}
	}
	list := do(0, "-Ln")
	for _, want := range []string{"FWM  1 rr persistent 900\n", "FWM  8 rr\n", "TCP  192.0.2.12:0 wlc persistent 300\n", "  -> 192.168.201.100:80           FullNat 1 "} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	conns := do(0, "-Lcn")
	for _, want := range []string{" 0.0.0.1:0 ", " 192.0.2.10:443 ", " 192.0.2.11:443 ", " 192.0.2.12:0 ", " 192.0.2.12:443 "} {
		if !strings.Contains(conns, want) {
			t.Errorf("no %q in\n%s", want, conns)
		}
	}

	// A mark for an address whose packets go on elsewhere.
	doctor := func() string {
		var out, errw strings.Builder
		verbs.Run([]string{"goipvs", "doctor"}, "test", nil, &out, &errw)
		return out.String() + errw.String()
	}
	if out := doctor(); strings.Contains(out, "fwmark-not-local") {
		t.Errorf("the doctor says\n%s", out)
	}
	markTo(t, netip.MustParseAddr("192.0.2.99"), 8)
	// Where it is not known whether nf_tables is loaded the doctor does not ask it.
	if out := doctor(); lab.Kind() != "" && (!strings.Contains(out, "fwmark-not-local") || !strings.Contains(out, "ip rule add fwmark 8 lookup 100")) {
		t.Errorf("the doctor says\n%s", out)
	}

	// Others' hands.
	n, err := nftables.New()
	r.must(err)
	n.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "goipvs-tproxy"})
	r.must(n.Flush())
	r.await("the rules are there again", func() bool { d, err := tproxy.Read(); return err == nil && len(d) == 5 })
	r.await("that is said", func() bool {
		return strings.Contains(r.log.String(), "rules that bring packets to user space removed or changed")
	})
	byCommand()

	// A drained server keeps its client until the template ends, and takes no other's.
	r.ok("drain", "fwmark 1", was)
	r.await(was+" is on its way out", func() bool {
		return strings.Contains(r.ok("status"), "leaving") || strings.Contains(r.ok("status"), "drained")
	})
	r.ok("enable", "fwmark 1", was)

	// The next process, and the one after a crash.
	c, in, who := r.call("192.0.2.10:80")
	before := do(0, "-Ln --stats --exact -f 8")
	if out, err := r.command("upgrade").CombinedOutput(); err != nil {
		t.Fatalf("upgrade: %v\n%s", err, out)
	}
	fmt.Fprintln(c, "still there")
	if line, err := in.ReadString('\n'); err != nil || line != who+" still there\n" {
		t.Errorf("after the upgrade: %q, %v", line, err)
	}
	c.Close()
	if now := together(vips[0]); now != was {
		t.Errorf("its client goes to %s after the upgrade, to %s before", now, was)
	}
	if after := do(0, "-Ln --stats --exact -f 8"); after != before {
		t.Errorf("counters after the upgrade\n%swere\n%s", after, before)
	}
	byCommand()
	st, err := r.status()
	r.must(err)
	p, err := os.FindProcess(st.PID)
	r.must(err)
	r.must(p.Kill())
	r.await("the process is gone", func() bool { _, err := r.status(); return err != nil })
	r.start()
	for _, a := range servers {
		r.await(a.String()+" is in again", func() bool {
			return strings.Contains(r.ok("status"), a.String()) && strings.Count(r.ok("status"), " in ") >= 2
		})
	}
	r.await("services are there again", func() bool {
		c, err := net.DialTimeout("tcp", "192.0.2.11:80", time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	together(vips[0])
	byCommand()

	do(0, "-D -f 8")
	do(0, "-D -t 192.0.2.12:0")
	if d, err := tproxy.Read(); err != nil || len(d) != 2 {
		t.Errorf("rules after -D: %v, %v", d, err)
	}
	if _, err := net.Dial("tcp", "192.0.2.12:80"); err == nil {
		t.Error("port 0 is served after -D")
	}
}

// markTo gives packets to an address a firewall mark.
func markTo(t testing.TB, a netip.Addr, mark uint32) {
	t.Helper()
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "user"})
	chain := c.AddChain(&nftables.Chain{Name: "prerouting", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: a.AsSlice()},
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}
