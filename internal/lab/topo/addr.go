package topo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (n *Net) addVIPs() error {
	n.VIP4 = netip.MustParseAddr("192.0.2.10")
	if err := n.AddVIP(n.VIP4); err != nil {
		return err
	}
	if !n.spec.IPv6 {
		return nil
	}
	n.VIP6 = netip.MustParseAddr("2001:db8:ffff::10")
	return n.AddVIP(n.VIP6)
}

// AddVIP gives the director one more virtual address and tells the router that
// it is on the servers' segment, to be found there by ARP or neighbour
// discovery. Prepare puts it on real servers; for servers that are prepared
// already, call Prepare again.
func (n *Net) AddVIP(vip netip.Addr) error {
	if err := n.Director.AddAddr("eth0", netip.PrefixFrom(vip, vip.BitLen())); err != nil {
		return err
	}
	if n.Router != nil {
		eth0, err := n.Router.rt.LinkByName("eth0")
		if err != nil {
			return fmt.Errorf("topo: router: find eth0: %w", err)
		}
		err = n.Router.rt.RouteReplace(&netlink.Route{LinkIndex: eth0.Attrs().Index, Scope: netlink.SCOPE_LINK,
			Dst: ipNet(netip.PrefixFrom(vip, vip.BitLen()))})
		if err != nil {
			return fmt.Errorf("topo: router: route %s: %w", vip, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.vips = append(n.vips, vip)
	return nil
}

// VIPs returns the virtual addresses there are now.
func (n *Net) VIPs() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.vips)
}

// AddAddr gives an interface of the host another address, usable at once. That
// it is there already is no error.
func (h *Host) AddAddr(dev string, addr netip.Prefix) error {
	if err := h.addAddrs(dev, addr); err != nil {
		return fmt.Errorf("topo: %w", err)
	}
	return nil
}

func (h *Host) addAddrs(dev string, addrs ...netip.Prefix) error {
	link, err := h.rt.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: find %s: %w", h.Name, dev, err)
	}
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.rt.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%s: add %s to %s: %w", h.Name, a, dev, err)
		}
	}
	return nil
}

// route makes the two gateways the host's default ones; a zero address is none.
func (h *Host) route(gw4, gw6 netip.Addr) error {
	add := func(gw, from netip.Addr) error {
		if !gw.IsValid() || !from.IsValid() {
			return nil
		}
		err := h.rt.RouteReplace(&netlink.Route{Gw: gw.AsSlice(), Src: from.AsSlice()})
		if err != nil {
			return fmt.Errorf("%s: default route via %s: %w", h.Name, gw, err)
		}
		return nil
	}
	return errors.Join(add(gw4, h.Addr4), add(gw6, h.Addr6))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
