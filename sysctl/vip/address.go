package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/dump"
)

// Place is an interface that has an address.
type Place struct {
	Dev    string
	Prefix netip.Prefix // the address with the length of its network
	// Asked is true for an interface whose neighbours find addresses by ARP or
	// neighbour discovery: Ethernet and its like, but not lo, tunnels, dummies.
	Asked bool
	// Tentative and Duplicate are states of IPv6: the address is not usable yet,
	// or another host has it.
	Tentative, Duplicate bool
}

// Find tells on which interfaces of this host an address is; none is no error.
func Find(addr netip.Addr) ([]Place, error) {
	all, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, family(addr)) })
	if err != nil {
		return nil, &OpError{"list addresses", "", err}
	}
	var places []Place
	for _, a := range all {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || ip.Unmap() != addr.WithZone("") {
			continue
		}
		link, err := netlink.LinkByIndex(a.LinkIndex)
		if err != nil {
			if errors.As(err, new(netlink.LinkNotFoundError)) {
				continue // gone since
			}
			return nil, &OpError{"find interface of", addr.String(), err}
		}
		bits, _ := a.Mask.Size()
		places = append(places, Place{
			Dev: link.Attrs().Name, Prefix: netip.PrefixFrom(addr, bits), Asked: Asked(link),
			Tentative: a.Flags&unix.IFA_F_TENTATIVE != 0, Duplicate: a.Flags&unix.IFA_F_DADFAILED != 0,
		})
	}
	return places, nil
}

// Asked is Place.Asked of an interface.
func Asked(link netlink.Link) bool {
	return link.Attrs().RawFlags&(unix.IFF_NOARP|unix.IFF_LOOPBACK|unix.IFF_POINTOPOINT) == 0
}

// Change is what Add and Delete did, and what Undo takes back.
type Change struct {
	Addr           netip.Addr `json:"addr"`
	Dev            string     `json:"dev"`
	Added, Deleted bool       `json:",omitempty"` // neither: it was so already
}

// None is true where nothing had to be done.
func (c Change) None() bool { return !c.Added && !c.Deleted }

// Add gives an interface an address: a host address (/32, /128) without a
// broadcast address, and without duplicate address detection, which would ask
// the network for it and keep it unusable meanwhile. That the interface has it
// already is no error.
func Add(addr netip.Addr, dev string) (Change, error) {
	c := Change{Addr: addr, Dev: dev}
	link, err := find(dev)
	if err == nil {
		err = netlink.AddrAdd(link, host(addr))
	}
	switch {
	case err == nil:
		c.Added = true
	case !errors.Is(err, unix.EEXIST):
		return c, &OpError{"add", addr.String() + " to " + dev, err}
	}
	return c, nil
}

// Delete takes a host address away. That it is not there is no error, nor that
// the interface is gone.
func Delete(addr netip.Addr, dev string) (Change, error) {
	c := Change{Addr: addr, Dev: dev}
	link, err := find(dev)
	if errors.Is(err, unix.ENODEV) {
		return c, nil
	}
	if err == nil {
		err = netlink.AddrDel(link, host(addr))
	}
	switch {
	case err == nil:
		c.Deleted = true
	case !errors.Is(err, unix.EADDRNOTAVAIL):
		return c, &OpError{"delete", addr.String() + " from " + dev, err}
	}
	return c, nil
}

// Undo takes a change back; like Add and Delete it is content with what is so
// already.
func Undo(c Change) (err error) {
	switch {
	case c.Added:
		_, err = Delete(c.Addr, c.Dev)
	case c.Deleted:
		_, err = Add(c.Addr, c.Dev)
	}
	return err
}

func host(addr netip.Addr) *netlink.Addr {
	bits := addr.BitLen()
	a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, bits)}}
	if addr.Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// find is LinkByName with the error of a system call.
func find(dev string) (netlink.Link, error) {
	link, err := netlink.LinkByName(dev)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, fmt.Errorf("no such interface (%w)", unix.ENODEV)
	}
	return link, err
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// OpError is the error of every operation of this package: what was done to
// what, and what the kernel said.
type OpError struct {
	Op, Object string
	Err        error
}

func (e *OpError) Error() string {
	s := "vip: " + e.Op
	if e.Object != "" {
		s += " " + e.Object
	}
	return s + ": " + e.Err.Error()
}

func (e *OpError) Unwrap() error { return e.Err }
