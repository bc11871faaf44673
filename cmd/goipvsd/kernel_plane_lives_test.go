package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
	"golang.org/x/sys/unix"
)

// TestKernelPlaneLives: full NAT in the kernel over IPv6, with connections that
// send numbered bytes all the while. Their local addresses are taken out of the
// file, their service is changed, all rules are flushed, goipvsd is restarted
// and killed: no byte is lost, and new connections have what the file says.
// What was before comes back at the end.
func TestKernelPlaneLives(t *testing.T) {
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no NAT by nf_tables: TestKernelPlaneMissing")
	}
	r := newPlanesRig(t, true)
	r.must(r.net.Director.Sysctl("net.ipv6.conf.all.forwarding", "0"))
	file := func(scheduler string) {
		r.Helper()
		var more strings.Builder
		fmt.Fprintf(&more, "[[virtual]]\nname = \"stream\"\naddress = %q\nscheduler = %q\nforward = \"fullnat\"\n[virtual.fullnat]\nplane = \"kernel\"\nlocal = [%q, %q]\n",
			netip.AddrPortFrom(r.vip, 81), scheduler, r.locals[0], r.locals[1])
		for _, a := range r.servers {
			fmt.Fprintf(&more, "[[virtual.real]]\naddress = %q\n", a)
		}
		r.planes("kernel", "kernel", "", more.String())
	}
	for i, h := range r.net.Servers {
		newEchoAt(r.rig, h, netip.AddrPortFrom(r.servers[i], 81))
	}
	even := func(when string) {
		t.Helper()
		for network, port := range map[string]uint16{"tcp": 80, "udp": 53} {
			if seen := r.answers(network, port); seen[r.locals[0]] != 2 || seen[r.locals[1]] != 2 {
				t.Errorf("%s, %s: real servers saw %v, want two from each of %v", when, network, seen, r.locals)
			}
		}
	}
	file("rr")
	r.start()
	for _, name := range []string{"web", "dns", "stream"} {
		r.runs(name, "kernel")
	}
	even("at first")
	streams := []*stream{newStream(r.rig, netip.AddrPortFrom(r.vip, 81)), newStream(r.rig, netip.AddrPortFrom(r.vip, 81))}
	if streams[0].server == streams[1].server {
		t.Errorf("both streams go to %s", streams[0].server)
	}
	beat := func(after string) {
		t.Helper()
		for _, s := range streams {
			for range 5 {
				select {
				case <-s.beat:
				case <-s.done:
					t.Fatalf("%s: stream to %s after %d numbers: %v", after, s.server, s.count, s.err)
				}
			}
		}
	}
	beat("at first")

	r.setLocals(netip.MustParseAddr("fd09::2:1"))
	file("wrr")
	r.ok("reload")
	even("with other local addresses")
	beat("other local addresses and scheduler")

	r.must(r.cmd.Process.Signal(unix.SIGSTOP))
	r.flushRules()
	beat("a flush that nobody has mended yet")
	late := make(chan error, 1) // who comes before it is mended, and keeps trying
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a, err := r.net.Client.Ask(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(r.vip, 80))
		if err == nil && !slices.Contains(r.locals, a.Remote.Addr()) {
			err = fmt.Errorf("the real server saw %s", a.Remote)
		}
		late <- err
	}()
	udp, err := r.net.Client.Dial(t.Context(), "udp", netip.AddrPort{}, netip.AddrPortFrom(r.vip, 53))
	r.must(err)
	defer udp.Close()
	answered := func(patience time.Duration) bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a, err := udp.Ask(ctx)
		return err == nil && slices.Contains(r.locals, a.Remote.Addr())
	}
	if answered(time.Second) {
		t.Error("there is an answer without rules: this proves nothing")
	}
	r.must(r.net.Director.Do(func() error {
		_, err := (sysctl.Netns{}).Set(r.forward, "0")
		return err
	}))
	r.must(r.cmd.Process.Signal(unix.SIGCONT))
	r.await("it is mended", func() bool { return len(r.tables()) == 1 && r.knob(r.forward) == "1" })
	r.await("a datagram that came before is followed by one that is answered", func() bool { return answered(time.Second) })
	if err := <-late; err != nil {
		t.Errorf("a client that came before the rules: %v", err)
	}
	beat("a flush that is mended")

	if status := r.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
	even("while nobody runs")
	beat("a stop")
	r.start()
	r.runs("stream", "kernel")
	beat("a restart")
	r.kill()
	beat("a kill")
	r.start()
	r.runs("stream", "kernel")
	even("after a kill")
	beat("a kill and a start")
	r.must(r.net.Director.Do(func() error {
		counts, err := new(snat.Plane).Counts()
		for _, k := range []ipvs.ServiceKey{ipvs.AddrService(ipvs.TCP, netip.AddrPortFrom(r.vip, 80)), ipvs.AddrService(ipvs.UDP, netip.AddrPortFrom(r.vip, 53))} {
			if n := counts[k].Conns; n != 9 { // who came late, while nobody ran, and after the kill
				t.Errorf("%s: %d connections counted since the flush, want 9", k, n)
			}
		}
		return err
	}))
	r.lives("at the end", streams...)

	before, err := os.ReadFile(conntrackMax)
	r.must(err)
	t.Cleanup(func() { r.must(os.WriteFile(conntrackMax, before, 0)) })
	r.must(os.WriteFile(conntrackMax, []byte("5"), 0))
	if out := r.ok("status"); !strings.Contains(out, "CONNECTION TRACKING nearly full: ") {
		t.Errorf("nobody says that connection tracking is full:\n%s", out)
	}
	r.must(os.WriteFile(conntrackMax, before, 0))

	r.planes("userspace", "userspace", "")
	r.leaveKernel()
	r.runs("web", "userspace")
	r.becomes("")
	r.nothingLeft("in user space")
}
