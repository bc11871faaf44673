package topo

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Method is how a real server gets its packets from the director.
type Method string

// What Prepare can make a real server ready for.
const (
	NAT    Method = "nat"     // packets to the server's own address, answers through the director
	DR     Method = "dr"      // packets to the VIP in a frame to the server, answers straight to the client
	IPIP   Method = "ipip"    // the same in an IP-in-IP tunnel, all four mixtures of IPv4 and IPv6
	GRE    Method = "gre"     // in a GRE tunnel without checksums
	GRESum Method = "gre+sum" // in a GRE tunnel with checksums
	GUE    Method = "gue"     // in a generic UDP encapsulation to GUEPort
)

// Prepare sets real servers, all of them if none is named, up for a method. It
// may be called again for another one: the last call decides about the default
// route, and what else was set up stays, as it does no harm.
//
// Until Prepare is called a real server has no way back to the clients, which is
// what full NAT is for.
func (n *Net) Prepare(m Method, servers ...*Host) error {
	if len(servers) == 0 {
		servers = n.Servers
	}
	for _, s := range servers {
		if err := n.prepare(m, s); err != nil {
			return fmt.Errorf("topo: prepare for %s: %w", m, err)
		}
	}
	return nil
}

func (n *Net) prepare(m Method, s *Host) error {
	if m == NAT {
		return s.route(n.Director.Addr4, n.Director.Addr6)
	}
	if n.Router == nil {
		return errors.New("servers have no way to the clients past the director, the Spec needs a Router")
	}
	if err := s.holdVIPs(n.VIPs()); err != nil {
		return err
	}
	if err := s.tunnel(m); err != nil {
		return err
	}
	return s.route(n.Router.Addr4, n.Router.Addr6)
}

// holdVIPs puts the virtual addresses on lo, after making sure that the server
// does not answer ARP for them. IPv6 answers only for addresses of the interface
// that was asked.
func (h *Host) holdVIPs(vips []netip.Addr) error {
	if err := h.Sysctl("net.ipv4.conf.all.arp_ignore", "1"); err != nil {
		return err
	}
	if err := h.Sysctl("net.ipv4.conf.all.arp_announce", "2"); err != nil {
		return err
	}
	for _, vip := range vips {
		if err := h.addAddrs("lo", netip.PrefixFrom(vip, vip.BitLen())); err != nil {
			return err
		}
	}
	return nil
}

// tunnel makes the devices on which packets of the method arrive.
func (h *Host) tunnel(m Method) error {
	switch m {
	case DR:
		return nil
	case IPIP:
		return h.ipip()
	case GRE:
		return h.gre(0)
	case GRESum:
		return h.gre(uint16(nl.GRE_CSUM))
	case GUE:
		return errors.Join(h.ipip(), h.gue())
	}
	return errors.New("no such method")
}

// ipip takes IPv4 and IPv6 out of IPv4 (two devices) and out of IPv6 (one).
func (h *Host) ipip() error {
	local := h.Addr4.AsSlice()
	links := []netlink.Link{
		&netlink.Iptun{LinkAttrs: named("ipip4in4"), Local: local, Proto: unix.IPPROTO_IPIP},
	}
	if h.usesIPv6() {
		links = append(links,
			&netlink.Sittun{LinkAttrs: named("ipip6in4"), Local: local, Proto: unix.IPPROTO_IPV6},
			&netlink.Ip6tnl{LinkAttrs: named("ipipin6"), Local: h.Addr6.AsSlice()})
	}
	return h.addTunnels(links...)
}

// gre takes GRE packets whose checksum flag is as in flags; the kernel drops the
// others, and one address can have one such device.
func (h *Host) gre(flags uint16) error {
	links := []netlink.Link{&netlink.Gretun{LinkAttrs: named("grein4"), Local: h.Addr4.AsSlice(), IFlags: flags}}
	if h.usesIPv6() {
		links = append(links, &netlink.Gretun{LinkAttrs: named("grein6"), Local: h.Addr6.AsSlice(), IFlags: flags})
	}
	for _, l := range links {
		if old, err := h.rt.LinkByName(l.Attrs().Name); err == nil {
			if err := h.rt.LinkDel(old); err != nil {
				return fmt.Errorf("%s: delete %s: %w", h.Name, l.Attrs().Name, err)
			}
		}
	}
	return h.addTunnels(links...)
}

func (h *Host) addTunnels(links ...netlink.Link) error {
	for _, l := range links {
		if err := h.rt.LinkAdd(l); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%s: add %s tunnel %s: %w", h.Name, l.Type(), l.Attrs().Name, err)
		}
		if err := h.up(l.Attrs().Name); err != nil {
			return err
		}
	}
	return nil
}

func named(name string) netlink.LinkAttrs {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	return attrs
}
