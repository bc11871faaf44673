package realserver

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// up sets a device up or down.
func up(dev string, on bool) error {
	op, set := "set up", netlink.LinkSetUp
	if !on {
		op, set = "set down", netlink.LinkSetDown
	}
	link, err := netlink.LinkByName(dev)
	if err == nil {
		err = set(link)
	}
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		err = errNoDevice
	}
	if err != nil {
		return &OpError{op, dev, err}
	}
	return nil
}

// load has the kernel make a tunnel device by loading its module: asked for an
// interface that it does not know, it tries a module of that name (dev_load() in
// net/core/dev_ioctl.c).
func load(dev string) error {
	ask(dev)
	if _, err := netlink.LinkByName(dev); err != nil {
		return &OpError{"load module for", dev, errNoModule}
	}
	return nil
}

func ask(name string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if req, err := unix.NewIfreq(name); err == nil {
		_ = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req) // its answer is found by looking
	}
}
