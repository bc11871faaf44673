package oracle

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvs"
)

// TestKernelRecords runs the recorded command lines on a real kernel; what they
// did to the table the real ipvsadm tells.
func TestKernelRecords(t *testing.T) {
	k, s := dial(t), newStage(t)
	theirs := s.real(t).reader(t)
	ours := s.ours(t)
	dummy(t, "dum0") // an interface that the cases were recorded with
	for _, r := range records(t, func(r *record) bool { return !r.tagged("traffic") && !r.tagged("no-module") }) {
		t.Run(r.Name, func(t *testing.T) {
			stopDaemons(t, k)
			k.restore(t, r.setup())
			before := theirs.save(t)
			var got answer
			if r.UID == 0 {
				got = k.run(append(r.Prog, "/sbin/ipvsadm")[0], r.Stdin, r.Argv...)
			} else { // rights are a process's
				user := *ours
				user.uid = r.UID
				got = user.run(t, r.Stdin, r.Argv...)
			}
			r.judge(t, got, before, theirs.save(t))
			if r.Expect == "same" {
				for _, a := range r.After {
					a.judge(t, k.run("/sbin/ipvsadm", "", a.Argv...))
				}
			}
		})
	}
}

func (s *step) judge(t *testing.T, got answer) {
	t.Helper()
	got.Stderr = ""
	if diff := cmp.Diff(answer{Exit: status(s.Exit), Stdout: s.Stdout}, got); diff != "" {
		t.Errorf("then %q (-want +got):\n%s", s.Argv, diff)
	}
}

func stopDaemons(t *testing.T, k kernel) {
	t.Helper()
	for _, s := range []ipvs.DaemonState{ipvs.Master, ipvs.Backup} {
		if err := k.StopDaemon(ipvs.Daemon{State: s}); err != nil && !errors.Is(err, ipvs.ErrNoDaemon) {
			t.Fatal(err)
		}
	}
}

// dummy makes a network interface that is up.
func dummy(t *testing.T, name string) {
	t.Helper()
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(link); err != nil && !errors.Is(err, unix.EEXIST) {
		t.Fatal(err)
	}
	must(t, netlink.LinkSetUp(link))
	t.Cleanup(func() { must(t, netlink.LinkDel(link)) })
}
