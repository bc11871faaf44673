package main

import (
	"strings"
	"testing"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"golang.org/x/sys/unix"
)

// TestKernelUpgrade: while one daemon follows another the kernel's table is what
// it was, at every moment; streams go on; and what is known of the servers, with
// what operators said, is known to the next one from its first answer on.
func TestKernelUpgrade(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 3})
	var servers []*echo
	for _, h := range r.net.Servers {
		servers = append(servers, newEcho(r, h))
	}
	r.foreign()
	r.file("hold_on_mass_failure = 1.0\n" + three(3, ""))
	r.start()
	r.becomes(all3 + foreignText)
	servers[2].die()
	want := strings.Replace(all3, "13:80 nat 1", "13:80 nat 0", 1)
	r.becomes(want + foreignText)
	r.ok("weight", "--reason", "big box", "10.9.0.11", "5")
	want = strings.Replace(want, "11:80 nat 1", "11:80 nat 5", 1)
	r.becomes(want + foreignText)
	s := streamTo(r, "rs1")
	down, up := r.server(rip(3)), r.server(rip(2))

	table := strings.TrimSpace(strings.ReplaceAll(want+foreignText, "\n\t\t", "\n"))
	stop, watched := make(chan struct{}), make(chan int)
	go func() { // who looks sees nothing of it
		n := 0
		for {
			select {
			case <-stop:
				watched <- n
				return
			default:
			}
			if now := r.table(); now != table {
				t.Errorf("the table was\n%s\nwant\n%s", now, table)
				<-stop
				watched <- n
				return
			}
			n++
		}
	}()
	for range 3 {
		old := r.cmd.Process.Pid
		if now, err := r.status(); err == nil {
			old = now.PID
		}
		var u control.Upgraded
		r.must(r.request("upgrade", &u))
		if u.Was != old || u.PID == old {
			t.Fatalf("process %d took the place of %d, which was %d", u.PID, u.Was, old)
		}
		defer func() { _ = unix.Kill(u.PID, unix.SIGKILL) }()
		if got := r.server(rip(3)); got.Verdict != "down" || got.Reason != down.Reason || !got.Since.Equal(*down.Since) {
			t.Errorf("of the dead server the next process knows %s since %v: %s, want %s since %v: %s", got.Verdict, got.Since, got.Reason, down.Verdict, down.Since, down.Reason)
		}
		if got := r.server(rip(2)); got.Verdict != "up" || !got.Since.Equal(*up.Since) || got.Place != "in" {
			t.Errorf("of the living one %s since %v, %s", got.Verdict, got.Since, got.Place)
		}
		if got := r.server(rip(1)); got.Override == nil || got.Override.Reason != "big box" {
			t.Errorf("what the operator said is gone: %+v", got)
		}
	}
	close(stop)
	if n := <-watched; n == 0 {
		t.Error("nobody looked")
	}
	r.lives("over three upgrades", s)
	if out := r.ok("explain", "10.9.0.13"); !strings.Contains(out, "server_down") {
		t.Errorf("explain does not know any more why it is down:\n%s", out)
	}
	servers[2].up()
	r.becomes(strings.Replace(want, "13:80 nat 0", "13:80 nat 1", 1) + foreignText)
	if log := r.log.String(); strings.Contains(log, "event=upgrade_failed") || strings.Count(log, "event=upgraded") != 3 || strings.Contains(log, "event=server_adopted") {
		t.Error("not three upgrades and nothing else")
	}
}
