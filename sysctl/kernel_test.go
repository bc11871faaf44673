package sysctl_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/internal/lab/topo/topotest"
	"github.com/goipvs/goipvs/sysctl"
)

// host returns a namespace of two interfaces, one with a dot in its name.
func host(t *testing.T) (sysctl.Netns, *topo.Host) {
	t.Helper()
	n := topotest.New(t, topo.Spec{Named: true, IPv6: true})
	return sysctl.Netns{Path: "/run/netns/director"}, n.Director
}

// TestKernelForwarding: ip_forward takes other knobs along, and back again.
func TestKernelForwarding(t *testing.T) {
	n, h := host(t)
	for _, s := range [][2]string{
		{"net.ipv4.ip_forward", "0"}, {"net.ipv4.conf.client1.forwarding", "1"}, {"net.ipv4.conf.all.accept_redirects", "0"},
		{"net.ipv6.conf.all.forwarding", "0"}, {"net.ipv6.conf.eth0.forwarding", "1"},
	} {
		if err := h.Sysctl(s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}
	knobs := []sysctl.Knob{sysctl.Forward4, sysctl.Forward6}
	for _, dev := range []string{"all", "default", "lo", "eth0", "client1"} {
		knobs = append(knobs, sysctl.Conf4(dev, "forwarding"), sysctl.Conf4(dev, "accept_redirects"), sysctl.Conf6(dev, "forwarding"))
	}
	before := values(t, n, knobs)
	changes, err := n.SetAll(sysctl.Setting{Knob: sysctl.Forward4, Value: "1"}, sysctl.Setting{Knob: sysctl.Forward6, Value: "1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range []string{"lo", "eth0", "client1"} {
		if v, err := n.Effective(sysctl.Conf4(dev, "forwarding")); err != nil || v != 1 {
			t.Errorf("%s forwards: %d, %v", dev, v, err)
		}
	}
	if err := n.UndoAll(changes); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, values(t, n, knobs)); diff != "" {
		t.Errorf("set and undone (-before +after):\n%s", diff)
	}
}

func values(t *testing.T, n sysctl.Netns, knobs []sysctl.Knob) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, k := range knobs {
		v, err := n.Get(k)
		if err != nil {
			t.Fatal(err)
		}
		all[k.String()] = v
	}
	return all
}

func TestKernelRefuses(t *testing.T) {
	n, h := host(t)
	k := sysctl.VS("conntrack")
	c, err := n.Set(k, "1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Set(k, "maybe"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("not a number: %v", err)
	}
	if v, err := h.ReadSysctl(k.String()); err != nil || v != "1" {
		t.Errorf("in the namespace it is %q, %v", v, err)
	}
	if v, err := (sysctl.Netns{}).Get(k); err != nil || v != "0" {
		t.Errorf("outside of it is %q, %v", v, err)
	}
	if err := n.Undo(c); err != nil {
		t.Error(err)
	}
	if _, err := (sysctl.Netns{Path: "/run/netns/none"}).Get(k); err == nil {
		t.Error("a namespace that is not there: no error")
	}
}
