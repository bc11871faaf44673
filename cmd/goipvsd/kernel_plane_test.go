package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/google/nftables"
)

const conntrackMax = "/proc/sys/net/netfilter/nf_conntrack_max" // of the kernel, not of a namespace

// planesRig has two services of full NAT, of TCP and of UDP, whose real servers
// know no way to the client.
type planesRig struct {
	*rig
	vip     netip.Addr
	servers []netip.Addr
	locals  []netip.Addr // the two in use
	forward sysctl.Knob
	asked   uint16 // clients so far
}

func newPlanesRig(t *testing.T, v6 bool) *planesRig {
	r := &planesRig{rig: newBareRig(t, topo.Spec{Servers: 2, IPv6: v6}), forward: sysctl.Forward4}
	first := netip.MustParseAddr("10.9.1.1")
	r.vip = r.net.VIP4
	if v6 {
		r.vip, r.forward, first = r.net.VIP6, sysctl.Forward6, netip.MustParseAddr("fd09::1:1")
	}
	for _, h := range r.net.Servers {
		a := h.Addr4
		if v6 {
			a = h.Addr6
		}
		r.servers = append(r.servers, a)
	}
	// A small machine has room for 8192 connections, which hammer fills.
	if err := os.WriteFile(conntrackMax, []byte("262144"), 0); !errors.Is(err, fs.ErrNotExist) {
		r.must(err)
	}
	r.setLocals(first)
	serveAll(r.rig)
	for _, h := range r.net.Servers {
		_, err := h.Serve("udp", 53)
		r.must(err)
	}
	return r
}

// setLocals has two addresses, from this one on, be the local ones.
func (r *planesRig) setLocals(first netip.Addr) {
	r.Helper()
	r.locals = []netip.Addr{first, first.Next()}
	for _, a := range r.locals {
		r.must(r.net.Director.AddAddr("eth0", netip.PrefixFrom(a, 16)))
	}
}

// planes is a file in which TCP and UDP run where it says.
func (r *planesRig) planes(tcp, udp, more string, services ...string) {
	r.Helper()
	var text strings.Builder
	text.WriteString(more + "max_removal = 1.0\nhold_on_mass_failure = 1.0\n[check]\ninterval = \"500ms\"\ntimeout = \"5s\"\n")
	for _, s := range []struct {
		name  string
		port  uint16
		proto string
		plane string
	}{{"web", 80, "tcp", tcp}, {"dns", 53, "udp", udp}} {
		fmt.Fprintf(&text, `[[virtual]]
name = %q
address = %q
protocol = %q
scheduler = "rr"
forward = "fullnat"
[virtual.fullnat]
plane = %q
local = ["%s-%s"]
[virtual.check]
type = "connect"
port = 80
`, s.name, netip.AddrPortFrom(r.vip, s.port), s.proto, s.plane, r.locals[0], r.locals[1])
		for _, a := range r.servers {
			fmt.Fprintf(&text, "[[virtual.real]]\naddress = %q\n", a)
		}
	}
	r.file(text.String() + strings.Join(services, ""))
}

func (r *planesRig) service(name string) (s control.ServiceStatus) {
	r.Helper()
	st, err := r.rig.status()
	if err != nil {
		r.askWhere()
	}
	r.must(err)
	for _, s := range st.Services {
		if s.Name == name {
			return s
		}
	}
	return s
}

// runs waits until a service runs in a plane, with both servers.
func (r *planesRig) runs(name, plane string) {
	r.Helper()
	r.await(name+" runs in "+plane, func() bool {
		s := r.service(name)
		n := 0
		for _, rs := range s.Servers {
			if rs.Place == "in" && rs.WeightKernel != nil && *rs.WeightKernel == 1 {
				n++
			}
		}
		return s.Plane == plane && n == 2
	})
}

// answers has four clients ask, each of which must be answered, and returns how
// the real servers saw them. Each has a port of its own, or the kernel might know
// it for one that was there before.
func (r *planesRig) answers(network string, port uint16) (seen map[netip.Addr]int) {
	r.Helper()
	seen = map[netip.Addr]int{}
	for range 4 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		r.asked++
		a, err := r.net.Client.Ask(ctx, network, netip.AddrPortFrom(netip.Addr{}, 10000+r.asked), netip.AddrPortFrom(r.vip, port))
		cancel()
		if err != nil {
			_, status, _ := r.goipvs("status")
			r.Fatalf("%s: %v\n%s\n%s", network, err, r.table(), status)
		}
		seen[a.Remote.Addr()]++
	}
	return seen
}

// served has both services answer, to their local addresses.
func (r *planesRig) served() {
	r.Helper()
	for network, port := range map[string]uint16{"tcp": 80, "udp": 53} {
		seen := r.answers(network, port)
		if seen[r.locals[0]]+seen[r.locals[1]] != 4 {
			r.Errorf("%s: real servers saw %v, want the local addresses", network, seen)
		}
	}
}

func (r *planesRig) knob(k sysctl.Knob) (v string) {
	r.Helper()
	r.must(r.net.Director.Do(func() (err error) { v, err = (sysctl.Netns{}).Get(k); return err }))
	return v
}

// tables are those of nftables, but for the guard of the daemon that runs.
func (r *planesRig) tables() (names []string) {
	r.Helper()
	guard := ""
	select {
	case <-r.ended:
	default:
		guard = fmt.Sprintf("goipvs-guard-%d", r.cmd.Process.Pid)
	}
	r.must(r.net.Director.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		all, err := c.ListTables()
		for _, t := range all {
			if t.Name != guard {
				names = append(names, t.Name)
			}
		}
		return err
	}))
	return names
}

// flushRules is somebody's nft flush ruleset.
func (r *planesRig) flushRules() {
	r.Helper()
	r.must(r.net.Director.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.FlushRuleset()
		return c.Flush()
	}))
}

// nothingLeft: no rules, and knobs as they were.
func (r *planesRig) nothingLeft(when string) {
	r.Helper()
	r.await("nothing of the kernel's plane is left "+when, func() bool {
		return len(r.tables()) == 0 && r.knob(sysctl.VS("conntrack")) == "0" && r.knob(r.forward) == "0"
	})
}

const planesTable = `tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.12:80 nat 1
		udp 192.0.2.10:53 rr
		  10.9.0.11:53 nat 1
		  10.9.0.12:53 nat 1`

// TestKernelPlanes: full NAT in the kernel, end to end, on a kernel that has NAT
// by nf_tables: what others break is mended, services move between planes
// without a connection that finds neither, a killed daemon takes over what is
// there, and nothing stays behind.
func TestKernelPlanes(t *testing.T) {
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no NAT by nf_tables: TestKernelPlaneMissing")
	}
	r := newPlanesRig(t, false)
	r.must(r.net.Director.Sysctl("net.ipv4.ip_forward", "0"))
	if r.knob(sysctl.VS("conntrack")) != "0" || r.knob(sysctl.Forward4) != "0" {
		t.Fatal("the director has the knobs set: this would prove nothing")
	}
	r.planes("kernel", "auto", "")
	r.start()
	r.runs("web", "kernel")
	r.runs("dns", "kernel")
	r.becomes(planesTable)
	r.served()
	if web := r.service("web"); web.PlaneReason != "as asked" || web.Servers[0].Method != "fullnat" {
		t.Errorf("%+v", web)
	}
	if out := r.ok("status"); !strings.Contains(out, "full NAT in the kernel: as asked") || !strings.Contains(out, "it can do what is asked") {
		t.Error(out)
	}

	// Others flush everything, and turn a knob.
	r.flushRules()
	r.must(r.net.Director.Do(func() error {
		_, err := (sysctl.Netns{}).Set(sysctl.VS("conntrack"), "0")
		return err
	}))
	r.await("it is mended", func() bool { return len(r.tables()) == 1 && r.knob(sysctl.VS("conntrack")) == "1" })
	r.await("it is said", func() bool { // a look between the two mends the knob, too, and says the rules
		return strings.Contains(r.log.String(), "rules of source NAT removed or changed")
	})
	r.served()

	// Killed, and back: a connection lives, and rules go on counting.
	live := r.dial()
	r.kill()
	live.say()
	r.served()
	r.start()
	r.runs("web", "kernel")
	live.say()
	r.served()

	// To user space and back while clients come all the time. An established
	// connection of user space lives on.
	stop := r.hammer()
	r.planes("userspace", "userspace", "")
	if warned := r.leaveKernel(); warned == "" {
		t.Error("nobody says that an established connection ends")
	}
	r.runs("web", "userspace")
	r.becomes("")
	r.nothingLeft("in user space")
	r.served()
	inUser := r.dial()
	r.planes("kernel", "kernel", "")
	r.ok("reload")
	r.runs("web", "kernel")
	r.becomes(planesTable)
	r.served()
	inUser.say()
	stop()

	// The file changes while nobody runs.
	r.kill()
	r.planes("userspace", "kernel", "")
	r.start()
	r.runs("web", "userspace")
	r.becomes("udp 192.0.2.10:53 rr\n  10.9.0.11:53 nat 1\n  10.9.0.12:53 nat 1")
	r.served()

	r.planes("kernel", "kernel", "on_stop = \"flush\"\n")
	r.ok("reload")
	r.becomes(planesTable)
	if status := r.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
	r.becomes("")
	r.nothingLeft("after the stop")
}

// talk is an established connection to the service.
type talk struct {
	r *planesRig
	c *topo.Conn
}

func (r *planesRig) dial() talk {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := r.net.Client.Dial(ctx, "tcp", netip.AddrPort{}, vipPort)
	r.must(err)
	r.Cleanup(func() { c.Close() })
	k := talk{r, c}
	k.say()
	return k
}

// say has it be answered.
func (k talk) say() {
	k.r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := k.c.Ask(ctx); err != nil {
		k.r.Errorf("an established connection: %v", err)
	}
}

// leaveKernel reloads a file that takes services out of the kernel, and returns
// what is said of the connections that end by it.
func (r *planesRig) leaveKernel() (warned string) {
	r.Helper()
	status, out, errw := r.goipvs("reload")
	if status != 0 || errw != "" && !strings.Contains(errw, "it moves from the kernel to user space, which ends its ") {
		r.Fatalf("status %d\n%s%s", status, out, errw)
	}
	return errw
}

// hammer has clients connect one after the other until it is stopped; each must
// be let in and answered. The kernel gets a service and then its servers, and
// between them it refuses: who meets that may ask a few times more.
func (r *planesRig) hammer() (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	n := 0
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			c, err := r.net.Client.Dial(ctx, "tcp", netip.AddrPort{}, vipPort)
			for range 10 {
				if !errors.Is(err, syscall.ECONNREFUSED) {
					break
				}
				c, err = r.net.Client.Dial(ctx, "tcp", netip.AddrPort{}, vipPort)
			}
			if err != nil {
				r.Errorf("client %d is not let in: %v", n, err)
			} else {
				c.Close()
			}
			cancel()
			n++
		}
	})
	stop = sync.OnceFunc(func() {
		close(done)
		all.Wait()
		if n < 10 {
			r.Errorf("only %d clients came", n)
		}
	})
	r.Cleanup(stop) // where the test fails before that
	return stop
}

// TestKernelPlaneMissing: on a kernel without NAT by nf_tables auto is user
// space, and says why; a service that insists is refused, and no other.
func TestKernelPlaneMissing(t *testing.T) {
	if lab.Kind() != "uml" {
		t.Skip("this kernel has NAT by nf_tables: TestKernelPlanes")
	}
	r := newPlanesRig(t, false)
	r.planes("auto", "kernel", "")
	r.start()
	r.runs("web", "userspace")
	if seen := r.answers("tcp", 80); seen[r.locals[0]]+seen[r.locals[1]] != 4 {
		t.Errorf("real servers saw %v", seen)
	}
	if s := r.service("web"); !strings.Contains(s.PlaneReason, "no NAT by nf_tables") {
		t.Errorf("%+v", s)
	}
	if s := r.service("dns"); s.State != "refused" || !strings.Contains(s.PlaneReason, `plane = "kernel": snat: the kernel has no NAT by nf_tables`) {
		t.Errorf("%+v", s)
	}
	if out := r.ok("status"); !strings.Contains(out, "REFUSED") || !strings.Contains(out, "full NAT in user space: snat: the kernel has no NAT") {
		t.Error(out)
	}
	for _, event := range []string{"event=service_refused vs=dns", "event=plane vs=web"} {
		if !strings.Contains(r.log.String(), event) {
			t.Errorf("no %s in the log", event)
		}
	}
	// Commands are told, in a line, what the kernel lacks.
	const noNAT, noTPROXY = "snat: the kernel has no NAT by nf_tables (Linux 5.6; modules nft_chain_nat, nft_nat, nft_numgen, nft_ct) (operation not supported)\n",
		"tproxy: the kernel has no TPROXY by nf_tables (Linux 4.19; modules nf_tables, nft_tproxy) (operation not supported)\n"
	for line, want := range map[string]string{
		"-A -t 192.0.2.10:81 -s rr --fullnat --plane kernel":      `add service tcp 192.0.2.10:81 rr: it cannot be served here: plane = "kernel": ` + noNAT,
		"-A -f 7 -s rr --fullnat --plane userspace":               "add service fwmark 7 rr: " + noTPROXY,
		"-A -f 7 -s rr --fullnat":                                 "add service fwmark 7 rr: " + noTPROXY,
		"-A -t 192.0.2.11:0 -s rr -p --fullnat --plane userspace": "add service tcp 192.0.2.11:0 rr: " + noTPROXY,
	} {
		if out := r.oneShot(255, "", line); out != "goipvs: "+want {
			t.Errorf("goipvs %s prints\n%s", line, out)
		}
	}
	// What runs is not given up for what cannot be.
	r.planes("kernel", "kernel", "")
	if status, _, errw := r.goipvs("reload"); status != 1 || !strings.Contains(errw, "web runs now and cannot any more") {
		t.Errorf("status %d, %s", status, errw)
	}
	r.planes("userspace", "userspace", "")
	r.ok("reload")
	r.runs("dns", "userspace")
	r.served()
}
