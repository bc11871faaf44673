package ipvsadm_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

var _ ipvsadm.Kernel = (*ipvs.Client)(nil)

// TestKernelCases runs the recorded cases on a real kernel.
func TestKernelCases(t *testing.T) {
	k := dial(t)
	dummy(t, "dum0")
	for _, c := range goldenCases(t) {
		if slices.Contains(c.Tags, "traffic") || slices.Contains(c.Tags, "no-module") || c.UID != 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			for _, s := range []ipvs.DaemonState{ipvs.Master, ipvs.Backup} {
				if err := k.StopDaemon(ipvs.Daemon{State: s}); err != nil && !errors.Is(err, ipvs.ErrNoDaemon) {
					t.Fatal(err)
				}
			}
			c.run(t, k)
		})
	}
}

// TestKernelRun: a user sees the same on a real kernel as on the one in memory.
func TestKernelRun(t *testing.T) {
	k := dial(t)
	for _, c := range runCases() {
		if c.inject.Err != nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			restore(t, k, c.rules)
			c.run(t, k, k)
		})
	}
}

func TestKernelRestore(t *testing.T) {
	k := dial(t)
	for _, c := range restoreCases() {
		t.Run(c.name, func(t *testing.T) {
			restore(t, k, c.have)
			c.run(t, k)
		})
	}
}

// restore makes the table what some rules say.
func restore(t *testing.T, k ipvsadm.Kernel, rules string) {
	t.Helper()
	if a := run(k, "goipvs", "-C\n"+rules, "-R"); a != (answer{}) {
		t.Fatalf("rules: %+v", a)
	}
}

// dial opens the kernel of the lab.
func dial(t *testing.T) ipvsadm.Kernel {
	t.Helper()
	lab.Need(t)
	k, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return kept{k}
}

// kept is a kernel that outlives the commands.
type kept struct{ *ipvs.Client }

func (kept) Close() error { return nil }

// dummy makes a network interface that is up, with which the cases were
// recorded.
func dummy(t *testing.T, name string) {
	t.Helper()
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(link); err != nil && !errors.Is(err, unix.EEXIST) {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(link); err != nil {
			t.Error(err)
		}
	})
}
