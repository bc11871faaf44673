package ipvstest

import (
	"errors"
	"net"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestConformance(t *testing.T) {
	Conformance(t, func(*testing.T) Client { return newConforming() })
}

func newConforming() *Kernel {
	return New(Options{Interfaces: map[string]int{"lo": 65536, syncInterface: 9000}})
}

func TestKernelConformance(t *testing.T) {
	lab.Need(t)
	addSyncInterface(t)
	Conformance(t, dial)
}

func dial(t *testing.T) Client {
	c, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addSyncInterface(t *testing.T) {
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: syncInterface, MTU: 9000}}
	if err := errors.Join(
		netlink.LinkAdd(link),
		netlink.LinkSetUp(link),
		netlink.AddrAdd(link, &netlink.Addr{Flags: unix.IFA_F_NODAD,
			IPNet: &net.IPNet{IP: net.ParseIP("fd00::1"), Mask: net.CIDRMask(64, 128)}}),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(link); err != nil {
			t.Error(err)
		}
	})
}
