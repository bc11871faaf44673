package topo

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lo is the loopback interface, the first of every namespace.
var lo netlink.Link = &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1, Name: "lo"}}

// wireSegment puts router, director and servers on one bridge.
func (n *Net) wireSegment() error {
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
	bridge.Name = "br0"
	if err := n.Switch.rt.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}
	if err := n.Switch.rt.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bridge up: %w", err)
	}
	join := func(h *Host, number byte) error {
		h.Addr4 = netip.AddrFrom4([4]byte{10, 9, 0, number})
		addrs := []netip.Prefix{netip.PrefixFrom(h.Addr4, 16)}
		if n.spec.IPv6 {
			h.Addr6 = netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x09, 15: number})
			addrs = append(addrs, netip.PrefixFrom(h.Addr6, 16))
		}
		return n.plug(h, "eth0", n.Switch, h.Name, bridge.Index, addrs...)
	}
	if n.Router != nil {
		if err := join(n.Router, 1); err != nil {
			return err
		}
	}
	if err := join(n.Director, 2); err != nil {
		return err
	}
	for i, h := range n.Servers {
		if err := join(h, byte(11+i)); err != nil {
			return err
		}
	}
	if n.Router == nil {
		return nil
	}
	return n.Director.route(n.Router.Addr4, n.Router.Addr6)
}

// wireClients gives each client a link of its own to the gateway, and a prefix.
func (n *Net) wireClients() error {
	for i, c := range n.Clients {
		if err := n.wireClient(c, byte(i)); err != nil {
			return err
		}
	}
	return nil
}

func (n *Net) wireClient(c *Host, i byte) error {
	gw := n.gateway()
	gw4, gw6 := linkAddrs(i, 1)
	link4, link6 := linkAddrs(i, 2)
	own4 := netip.AddrFrom4([4]byte{172, 16 + i, 0, 1})
	own6 := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: i, 15: 1})

	c.Addr4 = own4
	near := []netip.Prefix{netip.PrefixFrom(own4, 32), netip.PrefixFrom(link4, 24)}
	far := []netip.Prefix{netip.PrefixFrom(gw4, 24)}
	if n.spec.IPv6 {
		c.Addr6 = own6
		near = append(near, netip.PrefixFrom(own6, 128), netip.PrefixFrom(link6, 64))
		far = append(far, netip.PrefixFrom(gw6, 64))
	}
	if err := n.plug(c, "eth0", gw, c.Name, 0, near...); err != nil {
		return err
	}
	if err := gw.addAddrs(c.Name, far...); err != nil {
		return err
	}
	if err := c.route(gw4, gw6); err != nil {
		return err
	}
	if err := n.Own(c, netip.PrefixFrom(own4, 16)); err != nil {
		return err
	}
	if !n.spec.IPv6 {
		return nil
	}
	return n.Own(c, netip.PrefixFrom(own6, 48))
}

// linkAddrs are the addresses of one end of the link to client i.
func linkAddrs(i, end byte) (netip.Addr, netip.Addr) {
	return netip.AddrFrom4([4]byte{198, 18, i, end}), netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x18, 7: i, 15: end})
}

// Own lets the client use every address of the prefix, and has replies to them
// delivered to it.
func (n *Net) Own(client *Host, prefix netip.Prefix) error {
	prefix = prefix.Masked()
	err := client.rt.RouteReplace(&netlink.Route{LinkIndex: 1, Dst: ipNet(prefix), Type: unix.RTN_LOCAL,
		Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST})
	if err != nil {
		return fmt.Errorf("topo: %s: own %s: %w", client.Name, prefix, err)
	}
	for i, c := range n.Clients {
		if c != client {
			continue
		}
		via, via6 := linkAddrs(byte(i), 2)
		if prefix.Addr().Is6() {
			via = via6
		}
		if err := n.gateway().rt.RouteReplace(&netlink.Route{Dst: ipNet(prefix), Gw: via.AsSlice()}); err != nil {
			return fmt.Errorf("topo: route %s to %s: %w", prefix, client.Name, err)
		}
	}
	return nil
}

// plug joins two hosts by a veth pair. The far end joins the bridge master
// unless that is 0. The near end gets the addresses.
func (n *Net) plug(near *Host, nearDev string, far *Host, farDev string, master int, addrs ...netip.Prefix) error {
	pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: nearDev, PeerTxQLen: -1,
		PeerNamespace: netlink.NsFd(near.ns)}
	pair.Name, pair.MasterIndex = farDev, master
	pair.HardwareAddr, pair.PeerHardwareAddr = n.nextMAC(), n.nextMAC()
	near.MAC = MAC(pair.PeerHardwareAddr)
	if err := far.rt.LinkAdd(pair); err != nil {
		return fmt.Errorf("join %s and %s: %w", near.Name, far.Name, err)
	}
	if err := far.up(farDev); err != nil {
		return err
	}
	if err := near.up(nearDev); err != nil {
		return err
	}
	return near.addAddrs(nearDev, addrs...)
}

func (n *Net) nextMAC() net.HardwareAddr {
	n.macs++
	return net.HardwareAddr{2, 0, 0, 0, byte(n.macs >> 8), byte(n.macs)}
}

// up brings the interface up, with a link-local address that is good at once.
func (h *Host) up(dev string) error {
	link, err := h.rt.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: find %s: %w", h.Name, dev, err)
	}
	if err := h.rt.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: %s up: %w", h.Name, dev, err)
	}
	if !h.usesIPv6() {
		return nil
	}
	ll := [16]byte{0: 0xfe, 1: 0x80, 15: 1}
	copy(ll[10:], link.Attrs().HardwareAddr)
	return h.addAddrs(dev, netip.PrefixFrom(netip.AddrFrom16(ll), 64))
}
