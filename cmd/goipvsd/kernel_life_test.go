package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/boot"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// three is a service of real servers 1 to n, checked by connecting.
func three(n int, more string) string {
	var text strings.Builder
	text.WriteString(`
[check]
interval = "200ms"
timeout  = "20s"
[[virtual]]
name      = "web"
address   = "192.0.2.10:80"
scheduler = "rr"
forward   = "nat"
` + more + `
[virtual.check]
type      = "connect"
`)
	for i := range n {
		fmt.Fprintf(&text, "[[virtual.real]]\naddress = %q\n", rip(i+1))
	}
	return text.String()
}

const (
	all3 = `tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.12:80 nat 1
		  10.9.0.13:80 nat 1`
	foreignText = `
		udp 203.0.113.9:53 wlc
		  10.9.0.13:53 nat 7`
)

// foreign is a service of somebody else's.
func (r *rig) foreign() {
	r.Helper()
	s := ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("203.0.113.9:53")), Scheduler: "wlc"}
	r.must(r.client.Do(ipvs.Change{Op: ipvs.AddService, Service: s}))
	r.must(r.client.Do(ipvs.Change{Op: ipvs.AddDestination, Service: s,
		Destination: ipvs.Destination{Addr: netip.MustParseAddrPort("10.9.0.13:53"), Weight: 7}}))
}

// ipvsadm runs Debian's on the director.
func (r *rig) ipvsadm(args ...string) {
	r.Helper()
	dir, err := boot.Ipvsadm()
	r.must(err)
	libs, err := filepath.Glob(dir + "/usr/lib/*-linux-gnu")
	r.must(err)
	more, err := filepath.Glob(dir + "/lib/*-linux-gnu")
	r.must(err)
	cmd := exec.Command(filepath.Join(dir, "sbin/ipvsadm"), args...)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(append(libs, more...), ":"))
	var out []byte
	err = r.net.Director.Do(func() (err error) { out, err = cmd.CombinedOutput(); return err })
	if err != nil {
		r.Fatalf("ipvsadm %q: %v: %s", args, err, out)
	}
}

// TestKernelStreamsLive: established connections to a server that lives lose no
// byte, whatever happens around them, and nobody is sent to a dead one.
func TestKernelStreamsLive(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	var servers []*echo
	for _, h := range r.net.Servers {
		servers = append(servers, newEcho(r, h))
	}
	r.foreign()
	const head = "hold_on_mass_failure = 1.0\nreconcile = \"500ms\"\n"
	r.file(head + three(3, ""))
	r.start()
	r.becomes(all3 + foreignText)

	one, two, three3 := streamTo(r, "rs1"), streamTo(r, "rs2"), streamTo(r, "rs3")

	// A server dies: nobody is sent to it once it is known.
	servers[2].die()
	r.becomes(strings.Replace(all3, "13:80 nat 1", "13:80 nat 0", 1) + foreignText)
	select {
	case <-three3.done:
	case <-time.After(patience):
	}
	if err := three3.end(); err == nil {
		t.Error("the stream to the dead server did not notice")
	}
	for range 10 {
		if s := newStream(r, vipPort); s.server == "rs3" || s.end() != nil {
			t.Errorf("sent to %s: %v", s.server, s.err)
		}
	}
	servers[2].up()
	r.becomes(all3 + foreignText)

	// One is drained, and its established connection goes on until it ends.
	drained := streamTo(r, "rs3")
	r.ok("drain", "--reason", "new disk", "10.9.0.13")
	r.becomes(strings.Replace(all3, "13:80 nat 1", "13:80 nat 0", 1) + foreignText)
	if s := r.server(rip(3)); s.Place != "leaving" || s.Override == nil || s.Override.Reason != "new disk" {
		t.Errorf("status of the drained server: %+v", s)
	}
	r.lives("drained", drained)
	r.becomes(strings.Replace(all3, "\n\t\t  10.9.0.13:80 nat 1", "", 1) + foreignText)
	r.ok("enable", "10.9.0.13")
	r.becomes(all3 + foreignText)

	// The file is reloaded hundreds of times, with a service that comes and goes.
	for i := range 200 {
		text := three(3, "")
		if i%2 == 0 {
			text += "[[virtual]]\naddress = \"192.0.2.10:81\"\nforward = \"nat\"\nscheduler = \"sh\"\n[[virtual.real]]\naddress = \"10.9.0.11:80\"\n"
		}
		r.file(head + text)
		r.ok("reload")
	}
	r.becomes(all3 + foreignText)

	// Somebody else is at the table, with Debian's ipvsadm.
	for _, words := range []string{
		"-e -t 192.0.2.10:80 -r 10.9.0.11:80 -m -w 0", "-e -t 192.0.2.10:80 -r 10.9.0.12:80 -g -w 9",
		"-E -t 192.0.2.10:80 -s sh -p 60", "-a -t 192.0.2.10:80 -r 10.9.0.99:80 -m", "-D -t 192.0.2.10:80", "-C",
		"-d -t 192.0.2.10:80 -r 10.9.0.11:80",
	} {
		loud := func() {}
		if words == "-C" {
			// With the last service the kernel takes its hooks away: a packet that comes
			// before they are back meets the director's own TCP, which resets.
			loud = quiet(r, servers, one, two)
		}
		r.ipvsadm(strings.Fields(words)...)
		if words == "-C" {
			r.foreign()
		}
		r.becomes(all3 + foreignText)
		loud()
	}
	r.lives("at the end", one, two)
	if out := r.ok("explain", "web"); !strings.Contains(out, "drift") || !strings.Contains(out, "10.9.0.11:80 removed") {
		t.Errorf("explain knows nothing of the drift:\n%s", out)
	}
	if out := r.ok("explain", "10.9.0.13"); !strings.Contains(out, "server_down") || !strings.Contains(out, "new disk") || !strings.Contains(out, "check connect: up") {
		t.Errorf("explain of rs3:\n%s", out)
	}
}

// TestKernelKilledAtEveryStep: the daemon is killed after its n-th change of the
// kernel, for every n, and started again: what it had begun is brought to its
// end, no connection is lost and nothing of others is touched.
func TestKernelKilledAtEveryStep(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	var servers []*echo
	for _, h := range r.net.Servers {
		servers = append(servers, newEcho(r, h))
	}
	r.foreign()
	before := "hold_on_mass_failure = 1.0\n" + three(2, "") +
		"[[virtual]]\nname = \"old\"\naddress = \"192.0.2.10:81\"\nforward = \"nat\"\nscheduler = \"wlc\"\n[[virtual.real]]\naddress = \"10.9.0.11:80\"\n"
	after := "hold_on_mass_failure = 1.0\n" + strings.Replace(three(3, ""), `"`+rip(2)+`"`, `"`+rip(3)+`"`, 1)
	after = strings.Replace(after, "[[virtual.real]]\naddress = \""+rip(3)+"\"\n", "", 1)
	const (
		beforeTable = `tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.12:80 nat 1
		tcp 192.0.2.10:81 wlc
		  10.9.0.11:80 nat 1` + foreignText
		afterTable = `tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.13:80 nat 1` + foreignText
	)
	r.file(before)
	r.start()
	r.becomes(beforeTable)
	one := streamTo(r, "rs1")
	r.kill()
	survived := false
	for n := 1; !survived; n++ {
		if n > 40 {
			t.Fatal("so many changes for so little?")
		}
		r.must(r.client.Do(ipvs.Change{Op: ipvs.DeleteDestination, Service: ipvs.Service{ServiceKey: ipvs.AddrService(ipvs.TCP, vipPort)},
			Destination: ipvs.Destination{Addr: netip.MustParseAddrPort(rip(2))}})) // so that the start has work to do
		r.file(before)
		r.env = []string{fmt.Sprint(killAfter, "=", n)}
		r.launch()
		survived = r.drama(servers[1], after)
		r.env = nil
		r.kill()
		r.file(after)
		servers[1].die()
		servers[1].up()
		r.start()
		r.becomes(afterTable)
		r.file(before)
		r.ok("reload")
		r.becomes(beforeTable)
		r.kill()
	}
	r.lives("killed again and again", one)
}

// drama is a life of many changes; it reports whether the daemon outlived it.
func (r *rig) drama(second *echo, after string) bool {
	r.Helper()
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, "10.9.0.12:80 nat 1"},
		{func() { second.refuse() }, "10.9.0.12:80 nat 0"},
		{second.up, "10.9.0.12:80 nat 1"},
		{func() { r.file(after); r.goipvs("reload") }, "10.9.0.13:80 nat 1"},
	}
	for _, s := range steps {
		s.do()
		dead := false
		r.await("the table has "+s.want+" or the daemon is dead", func() bool {
			select {
			case <-r.ended:
				dead = true
				return true
			default:
				return strings.Contains(r.table(), s.want)
			}
		})
		if dead {
			return false
		}
	}
	return true
}
