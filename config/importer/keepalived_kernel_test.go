package importer_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/config/importer"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/boot"
	"github.com/goipvs/goipvs/ipvs"
)

// Of the corpus, files whose services keepalived itself understands whole.
var understood = strings.Fields(`001 012 015 016 017 019 020 021 022 023 025 028 029 032 035 037 043 044 046 048 049 050 051 053 054 056 060 061 063
	064 065 067 068 069 070 071 074 075 076 078 079 081 082 091 095 101 103 105 108`)

// TestKernelKeepalived: Debian's keepalived reads its own samples, and files that
// people have, and makes the table that the converted configuration asks for.
func TestKernelKeepalived(t *testing.T) {
	lab.Need(t)
	dir, err := boot.Keepalived()
	if err != nil {
		t.Fatal(err)
	}
	swallow(t)
	refuse(t)
	k, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	files, err := filepath.Glob(filepath.Join(dir, "usr/share/doc/keepalived/samples/keepalived.conf.*"))
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	for _, n := range understood {
		files = append(files, "testdata/keepalived/"+n+".conf")
	}
	n := 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r := importer.Keepalived(f, src, importer.Options{})
		holds(t, r)
		want := tableOf(r.Config)
		if want == "" {
			continue // VRRP alone
		}
		n++
		t.Run(filepath.Base(f), func(t *testing.T) { sameTable(t, k, dir, f, want) })
	}
	if n < 60 {
		t.Errorf("only %d files have services", n)
	}
}

// swallow sends everything to a device that answers nothing, so that no check
// ends while the table is looked at.
func swallow(t *testing.T) {
	t.Helper()
	d := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "nowhere"}}
	if err := netlink.LinkAdd(d); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(d); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.255.255.254/32", "fd00::254/128"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrAdd(d, addr); err != nil {
			t.Fatal(err)
		}
	}
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		dst, err := netlink.ParseIPNet(all)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: d.Attrs().Index, Dst: dst}); err != nil {
			t.Fatal(err)
		}
	}
}

// refuse makes the resolvers of /etc/resolv.conf unreachable: keepalived asks for
// the machine's name at start, and would wait.
func refuse(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return // nothing to ask
	}
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) < 2 || w[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(w[1])
		if err != nil || a.IsLoopback() {
			continue
		}
		dst := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
		if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Type: unix.RTN_UNREACHABLE}); err != nil {
			t.Fatal(err)
		}
	}
}

// tableOf is the table with every real server up, as text.
func tableOf(c *config.Config) string {
	var t ipvs.Table
	for i := range c.Virtuals {
		v := &c.Virtuals[i]
		e := ipvs.Entry{Service: v.Service}
		for j := range v.Reals {
			if v.Unchecked == config.UncheckedUp { // others wait for their first check
				e.Destinations = append(e.Destinations, v.Reals[j].Destination())
			}
		}
		t = append(t, e)
	}
	return tableText(t)
}

func tableText(t ipvs.Table) string {
	var lines []string
	for _, e := range t {
		s := e.Service
		head := fmt.Sprintf("%s %s flags %#x timeout %s mask %s engine %q", s.ServiceKey, s.Scheduler, uint32(s.Flags), s.Timeout, s.Netmask.Text(s.AF()), s.PE)
		lines = append(lines, head)
		for _, d := range e.Destinations {
			lines = append(lines, s.ServiceKey.String()+"\t"+d.String())
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// sameTable starts keepalived on a file and waits for the table.
func sameTable(t *testing.T, k *ipvs.Client, dir, file, want string) {
	if err := k.Flush(); err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "usr/sbin/keepalived"), "--dont-fork", "--log-console", "--check", "--use-file="+path,
		"--pid="+filepath.Join(run, "pid"), "--checkers_pid="+filepath.Join(run, "checkers"), "--dont-release-ipvs")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	libs, _ := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu"))
	more, _ := filepath.Glob(filepath.Join(dir, "lib/*-linux-gnu"))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(append(libs, more...), ":"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	})
	defer end()
	got := ""
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		s, err := ipvs.Read(k)
		if err != nil {
			t.Fatal(err)
		}
		if got = tableText(s.Table); got == want {
			return
		}
	}
	end()
	t.Errorf("(-converted +keepalived):\n%s\n%s", cmp.Diff(want, got), log.Bytes()[:min(log.Len(), 2000)])
}
