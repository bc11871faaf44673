package topo

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// GUEPort is where real servers take GUE packets, the port registered for it.
const GUEPort = 6080

// gue opens the UDP port; what comes out of it goes on to the ipip devices.
func (h *Host) gue() error {
	families := []uint8{unix.AF_INET}
	if h.usesIPv6() {
		families = append(families, unix.AF_INET6)
	}
	return h.Do(func() error {
		if _, err := netlink.GenlFamilyGet(netlink.FOU_GENL_NAME); err != nil {
			loadModule("fou") // starts modprobe, even in vain
		}
		for _, f := range families {
			if err := fouAdd(f); err != nil && !errors.Is(err, unix.EADDRINUSE) {
				return fmt.Errorf("%s: open GUE port %d: %w", h.Name, GUEPort, err)
			}
		}
		return nil
	})
}

// fouAdd sends FOU_CMD_ADD of include/uapi/linux/fou.h. netlink.FouAdd always
// adds an IP protocol of 0 for GUE, which kernels from about 6.1 on refuse with
// ERANGE.
func fouAdd(family uint8) error {
	fou, err := netlink.GenlFamilyGet(netlink.FOU_GENL_NAME)
	if err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(int(fou.ID), unix.NLM_F_ACK)
	req.AddData(&nl.Genlmsg{Command: netlink.FOU_CMD_ADD, Version: 1})
	req.AddData(nl.NewRtAttr(netlink.FOU_ATTR_PORT, binary.BigEndian.AppendUint16(nil, GUEPort)))
	req.AddData(nl.NewRtAttr(netlink.FOU_ATTR_AF, []byte{family}))
	req.AddData(nl.NewRtAttr(netlink.FOU_ATTR_TYPE, []byte{netlink.FOU_ENCAP_GUE}))
	_, err = req.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

// loadModule has the kernel load a module that it does not load by itself when
// it is needed: asked for an interface that it does not know, it tries a module
// of that name (dev_load in net/core/dev_ioctl.c). Errors show when the module
// is used.
func loadModule(name string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if ifreq, err := unix.NewIfreq(name); err == nil {
		_ = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifreq)
	}
}
