package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"golang.org/x/sys/unix"
)

// TestKernelPlaneMarks: full NAT in the kernel for firewall marks, of the file
// and of commands: a group of TCP and UDP, and one on other ports. Others flush
// all rules while datagrams come, a killed goipvsd takes over what is there,
// connections are listed and counted, and nothing stays behind.
func TestKernelPlaneMarks(t *testing.T) {
	r := newPlanesRig(t, false)
	r.must(r.net.Director.Sysctl("net.ipv4.ip_forward", "0"))
	for _, m := range []struct {
		network string
		port    uint16
		mark    uint32
	}{{"tcp", 80, 7}, {"udp", 53, 7}, {"tcp", 8080, 8}} {
		r.must(r.net.Director.Mark(m.network, netip.AddrPortFrom(r.vip, m.port), m.mark))
	}
	const head = "max_removal = 1.0\n"
	var text strings.Builder
	fmt.Fprintf(&text, "[[virtual]]\nname = \"group\"\nfwmark = 7\nscheduler = \"rr\"\nforward = \"fullnat\"\n[virtual.fullnat]\nplane = \"kernel\"\nlocal = [\"%s-%s\"]\n[virtual.check]\ntype = \"connect\"\nport = 80\n", r.locals[0], r.locals[1])
	for _, a := range r.servers {
		fmt.Fprintf(&text, "[[virtual.real]]\naddress = %q\n", a)
	}
	group := text.String()
	r.file(head + group)
	r.start()
	if lab.Kind() == "uml" {
		if s := r.service("group"); s.State != "refused" || !strings.Contains(s.PlaneReason, `plane = "kernel": snat: the kernel has no NAT by nf_tables`) {
			t.Errorf("%+v", s)
		}
		return
	}
	r.runs("group", "kernel")
	r.becomes("fwmark 7 rr\n  10.9.0.11:0 nat 1\n  10.9.0.12:0 nat 1")
	r.served()

	r.oneShot(0, "", "-A -f 8 -s rr --fullnat")
	r.oneShot(0, "", fmt.Sprintf("-P -f 8 -z %s", r.locals[0]))
	for _, a := range r.servers {
		r.oneShot(0, "", fmt.Sprintf("-a -f 8 -r %s:80 -b", a))
	}
	if seen := r.answers("tcp", 8080); seen[r.locals[0]] != 4 {
		t.Errorf("fwmark 8: real servers saw %v, want %s", seen, r.locals[0])
	}
	live := r.dial()
	for _, list := range []struct{ line, want string }{
		{"-Ln", "FWM  7 rr\n  -> 10.9.0.11:0                  FullNat 1 "},
		{"-S -n", fmt.Sprintf("-A -f 8 -s rr --fullnat\n-P -f 8 -z %s\n-a -f 8 -r 10.9.0.11:80 -b -w 1\n", r.locals[0])},
	} {
		if out := r.oneShot(0, "", list.line); !strings.Contains(out, list.want) {
			t.Errorf("%s prints\n%s\nwithout\n%s", list.line, out, list.want)
		}
	}
	if out := r.oneShot(0, "", "-Lcn"); !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
		return strings.Contains(line, "ESTABLISHED") && (strings.Contains(line, r.locals[0].String()+":") || strings.Contains(line, r.locals[1].String()+":"))
	}) {
		t.Errorf("-Lcn has no local address of a connection\n%s", out)
	}
	if out := r.oneShot(0, "", "-G -f 7"); strings.Count(out, "FWM  7") != 1 || !strings.Contains(out, r.locals[1].String()) {
		t.Errorf("-G prints\n%s", out)
	}

	// Others flush everything while goipvsd cannot mend it: datagrams that come
	// before it can are answered again after that.
	r.must(r.cmd.Process.Signal(unix.SIGSTOP))
	r.flushRules()
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
	r.must(r.cmd.Process.Signal(unix.SIGCONT))
	r.await("the rules are back", func() bool { return len(r.tables()) == 1 })
	r.await("a datagram that came before is followed by one that is answered", func() bool { return answered(time.Second) })
	r.served()
	live.say()

	r.kill()
	r.served()
	live.say()
	r.start()
	r.runs("group", "kernel")
	live.say()
	r.served()
	if seen := r.answers("tcp", 8080); seen[r.locals[0]] != 4 {
		t.Errorf("fwmark 8: real servers saw %v, want %s", seen, r.locals[0])
	}

	r.oneShot(0, "", "-D -f 8")
	r.file(head)
	r.ok("reload")
	r.becomes("")
	r.nothingLeft("without services")
}
