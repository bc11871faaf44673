package verbs

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
)

// typed is a command line and what came of it.
func typed(t *testing.T, h *topo.Host, line string) (status int, out, errw string) {
	t.Helper()
	var o, e strings.Builder
	err := h.Do(func() error {
		status = Run(append([]string{"goipvs"}, strings.Fields(line)...), "test", strings.NewReader(""), &o, &e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return status, o.String(), e.String()
}

func wantTyped(t *testing.T, h *topo.Host, line string, status int, out, errw string) {
	t.Helper()
	s, o, e := typed(t, h, line)
	if s != status {
		t.Errorf("goipvs %s: status %d, want %d", line, s, status)
	}
	if diff := cmp.Diff(out, o); diff != "" {
		t.Errorf("goipvs %s: stdout (-want +got):\n%s", line, diff)
	}
	if diff := cmp.Diff(errw, e); diff != "" {
		t.Errorf("goipvs %s: stderr (-want +got):\n%s", line, diff)
	}
}

func TestKernelRealserverVerb(t *testing.T) {
	n := topotest.New(t, topo.Spec{Router: true})
	s := n.Servers[0]
	wantTyped(t, s, "realserver show", 0, "no VIPs: this host is no real server of DR or TUN by goipvs\n", "")
	wantTyped(t, s, "realserver check", 1, "", "goipvs: no VIPs to check\ngoipvs: hint: goipvs realserver add VIP, or name them: goipvs realserver check VIP\n")
	const add = `set net.ipv4.conf.all.arp_ignore=1 (was 0)
set net.ipv4.conf.lo.arp_ignore=1 (was 0)
set net.ipv4.conf.all.arp_announce=2 (was 0)
set net.ipv4.conf.lo.arp_announce=2 (was 0)
add 192.0.2.10/32 to lo
`
	wantTyped(t, s, "realserver add 192.0.2.10 --check", 0, "would "+strings.ReplaceAll(strings.TrimSuffix(add, "\n"), "\n", "\nwould ")+"\n", "")
	wantTyped(t, s, "realserver add 192.0.2.10", 0, add, "")
	wantTyped(t, s, "realserver add 192.0.2.10", 0, "nothing to do\n", "")
	wantTyped(t, s, "realserver add 192.0.2.10 --json", 0, "{\n  \"changed\": false,\n  \"check\": false,\n  \"actions\": []\n}\n", "")
	if err := s.Sysctl("net.ipv4.conf.lo.arp_announce", "0"); err != nil {
		t.Fatal(err)
	}
	wantTyped(t, s, "realserver show", 0, `192.0.2.10 dr on lo
  net.ipv4.conf.all.arp_ignore is 1 (was 0)
  net.ipv4.conf.lo.arp_ignore is 1 (was 0)
  net.ipv4.conf.all.arp_announce is 2 (was 0)
  net.ipv4.conf.lo.arp_announce is 0, wanted 2
  effective: eth0 arp_ignore 1
  effective: eth0 arp_announce 2
drift: to set net.ipv4.conf.lo.arp_announce=2 (was 0)
`, "")
	mac := n.Director.MAC.String()
	wantTyped(t, s, "realserver check", 0, "192.0.2.10: good: silent on [eth0]\n  note: "+mac+" answers for it; right if this is the director\n", "")
	wantTyped(t, s, "realserver add 192.0.2.10 --dev eth0", 1, "",
		"goipvs: add 192.0.2.10: it was added in another way (--mode dr --dev lo)\ngoipvs: hint: goipvs realserver del 192.0.2.10, then add it anew\n")
	wantTyped(t, s, "realserver del 192.0.2.10", 0, `delete 192.0.2.10/32 from lo
restore net.ipv4.conf.all.arp_announce=0 (was 2)
restore net.ipv4.conf.lo.arp_ignore=0 (was 1)
restore net.ipv4.conf.all.arp_ignore=0 (was 1)
`, "")
	wantTyped(t, s, "realserver del 192.0.2.10", 0, "nothing to do\n", "")
	status, out, errw := typed(t, s, "realserver add 192.0.2.10 --mode tun --json")
	var doc struct {
		Changed bool
		Advice  []string
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || status != 0 || errw != "" || !doc.Changed || len(doc.Advice) != 1 {
		t.Errorf("status %d, %v, %s%s", status, err, out, errw)
	}
	if s, out, _ := typed(t, s, "realserver check 192.0.2.99"); s != 1 || !strings.HasPrefix(out, "192.0.2.99: wrong\n  problem: it is not on this host") {
		t.Errorf("status %d: %s", s, out)
	}
	typed(t, s, "realserver del 192.0.2.10")
}

// TestKernelVIPVerb: a director takes a VIP over, and the router goes along.
func TestKernelVIPVerb(t *testing.T) {
	n := topotest.New(t, topo.Spec{Servers: 1, Router: true, IPv6: true})
	spare := n.Servers[0] // a second director
	err := spare.Do(func() error {
		return errors.Join(netlink.RouteReplace(&netlink.Route{Gw: n.Router.Addr4.AsSlice()}), netlink.RouteReplace(&netlink.Route{Gw: n.Router.Addr6.AsSlice()}))
	})
	if err != nil {
		t.Fatal(err)
	}
	mac := n.Director.MAC.String()
	for _, vip := range []string{n.VIP4.String(), n.VIP6.String()} {
		wantTyped(t, spare, "vip add "+vip+" --dev eth0", 1, "", "goipvs: add "+vip+" to eth0: a neighbour has it ("+mac+")\n"+
			"goipvs: hint: two hosts with one address break connections at random; find that MAC address, or take the VIP over with --force\n")
		wantTyped(t, spare, "vip add "+vip+" --dev eth0 --force --check", 0, "would add "+vip+" to eth0\n", "")
		wantTyped(t, spare, "vip add "+vip+" --dev eth0 --force", 0, "add "+vip+" to eth0\n", "")
		to := netip.AddrPortFrom(netip.MustParseAddr(vip), 7)
		if _, err := spare.Serve("udp", 7, to.Addr()); err != nil {
			t.Fatal(err)
		}
		if a, err := n.Client.Ask(t.Context(), "udp", netip.AddrPort{}, to); err != nil || a.Server != "rs1" {
			t.Errorf("who answers for %s: %+v, %v", vip, a, err)
		}
		wantTyped(t, spare, "vip add "+vip+" --dev eth0", 0, "nothing to do\n", "")
		wantTyped(t, spare, "vip del "+vip+" --dev eth0", 0, "delete "+vip+" from eth0\n", "")
		wantTyped(t, spare, "vip del "+vip+" --dev eth0", 0, "nothing to do\n", "")
	}
	wantTyped(t, n.Director, "vip del 192.0.2.10 --dev eth0", 1, "",
		"goipvs: delete 192.0.2.10/32 from eth0: it was not added by goipvs\ngoipvs: hint: ip address del it, if it is not wanted\n")
	wantTyped(t, n.Director, "vip add 192.0.2.10 --dev eth0", 0, "nothing to do\n", "")
	wantTyped(t, n.Director, "vip del 192.0.2.10 --dev eth0", 0, "nothing to do\n", "") // it was there before
	wantTyped(t, n.Director, "vip add 192.0.2.33 --dev eth9", 1, "",
		"goipvs: add VIPs to eth9: no such interface (no such device)\ngoipvs: hint: ip link shows the interfaces\n")
}

func TestKernelTuneVerb(t *testing.T) {
	n := topotest.New(t, topo.Spec{Router: true})
	h := n.Servers[0]
	if err := h.Sysctl("net.ipv4.conf.eth0.forwarding", "1"); err != nil {
		t.Fatal(err)
	}
	wantTyped(t, h, "tune set --check conntrack=1", 0, "would set net.ipv4.vs.conntrack=1 (was 0)\n", "")
	wantTyped(t, h, "tune set conntrack=01 net.ipv4.ip_forward=1 sync_threshold=3", 2, "", "goipvs: usage: sync_threshold=3: it takes two numbers: packet and period\n")
	wantTyped(t, h, "tune set conntrack=01 net.ipv4.ip_forward=1", 0, "set net.ipv4.vs.conntrack=1 (was 0)\nset net.ipv4.ip_forward=1 (was 0)\n", "")
	wantTyped(t, h, "tune set conntrack=1", 0, "nothing to do\n", "")
	wantTyped(t, h, "tune set drop_entry=1 drop_entry=3", 0, "set net.ipv4.vs.drop_entry=1 (was 0)\nset net.ipv4.vs.drop_entry=3 (was 1)\n", "")
	_, out, _ := typed(t, h, "tune show conntrack")
	if !strings.HasPrefix(out, "net.ipv4.vs.conntrack = 1 (default 0, was 0 before goipvs tune)\n  what     keep netfilter") {
		t.Error(out)
	}
	_, out, _ = typed(t, h, "tune show")
	for _, want := range []string{"ip_forward = 1 (default 0, was 0 before goipvs tune)\n", "expire_nodest_conn = 0\n    packet of a connection", "sync_threshold = 3 50\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	if err := h.Sysctl("net.ipv4.vs.drop_entry", "0"); err != nil { // as it was: nothing to undo
		t.Fatal(err)
	}
	if err := h.Sysctl("net.ipv4.vs.conntrack", "0"); err != nil {
		t.Fatal(err)
	}
	wantTyped(t, h, "tune set conn_reuse_mode=3", 0, "set net.ipv4.vs.conn_reuse_mode=3 (was 1)\n", "")
	if err := h.Sysctl("net.ipv4.vs.conn_reuse_mode", "2"); err != nil {
		t.Fatal(err)
	}
	wantTyped(t, h, "tune undo --check", 0, "would restore net.ipv4.ip_forward=0 (was 1)\nkeep net.ipv4.vs.conn_reuse_mode at 2: somebody changed it since it was set\n", "")
	wantTyped(t, h, "tune undo ip_forward", 0, "restore net.ipv4.ip_forward=0 (was 1)\n", "")
	if v, err := h.ReadSysctl("net.ipv4.conf.eth0.forwarding"); err != nil || v != "1" {
		t.Errorf("eth0 forwarded before, and does now: %s, %v", v, err)
	}
	wantTyped(t, h, "tune undo", 0, "keep net.ipv4.vs.conn_reuse_mode at 2: somebody changed it since it was set\n", "")
	wantTyped(t, h, "tune undo", 0, "nothing to do\n", "")
	if _, err := os.Stat("/run/goipvs"); err != nil {
		t.Error(err)
	}
}

// TestKernelKnobsKnown: every knob that this kernel has is explained, with the
// default that it has.
func TestKernelKnobsKnown(t *testing.T) {
	n := topotest.New(t, topo.Spec{})
	_, out, _ := typed(t, n.Servers[0], "tune show --json")
	var all []struct{ Knob, Default, Value string }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, k := range all {
		known[k.Knob] = true
		if k.Default != "" && k.Value != k.Default {
			t.Errorf("%s is %s at first, not %s", k.Knob, k.Value, k.Default)
		}
	}
	files, err := os.ReadDir("/proc/sys/net/ipv4/vs")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known["net.ipv4.vs."+f.Name()] {
			t.Errorf("net.ipv4.vs.%s is not explained", f.Name())
		}
	}
}

// await reads lines until the wanted one was written and the knob is mended.
func await(t *testing.T, out io.Reader, want string, s *topo.Host) {
	t.Helper()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() != want {
			continue
		}
		if v, err := s.ReadSysctl("net.ipv4.conf.all.arp_ignore"); err != nil || v == "1" {
			return
		}
	}
	t.Errorf("it ended without %q", want)
}

// TestMain lets this program be goipvs, for what is about a process.
func TestMain(m *testing.M) {
	if words, ok := os.LookupEnv("VERBS_TEST_GOIPVS"); ok {
		os.Exit(Run(append([]string{"goipvs"}, strings.Fields(words)...), "test", os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestKernelWatchVerb: as the systemd unit runs it: ready when it is, mending
// what others change, ended by SIGTERM without undoing, and by del.
func TestKernelWatchVerb(t *testing.T) {
	n := topotest.New(t, topo.Spec{Router: true})
	s := n.Servers[0]
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	manager := func() string {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(5 * topo.Patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	for _, end := range []func(*os.Process){
		func(p *os.Process) { _ = p.Signal(syscall.SIGTERM) },
		func(*os.Process) { typed(t, s, "realserver del 192.0.2.10") },
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path, "VERBS_TEST_GOIPVS=realserver add --watch 192.0.2.10")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		if got := manager(); got != "READY=1" {
			t.Errorf("told the service manager %q", got)
		}
		if err := s.Sysctl("net.ipv4.conf.all.arp_ignore", "0"); err != nil {
			t.Fatal(err)
		}
		// Add may have set it as well; what is mended comes after it is ready.
		await(t, out, "set net.ipv4.conf.all.arp_ignore=1 (was 0)", s)
		end(cmd.Process)
		if got := manager(); got != "STOPPING=1" {
			t.Errorf("told the service manager %q", got)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	wantTyped(t, s, "realserver show", 0, "no VIPs: this host is no real server of DR or TUN by goipvs\n", "")
}
