package realserver

import (
	"net"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/internal/dump"
	"github.com/goipvs/goipvs/sysctl"
)

// want is a knob that must have one of some values, and the one it is given
// where it has none of them.
type want struct {
	knob   sysctl.Knob
	value  string
	accept func(int) bool
	why    string
}

func (w want) ok(value string) bool {
	n, err := strconv.Atoi(value)
	return err == nil && w.accept(n)
}

// silent are the values of arp_ignore with which an interface does not answer
// for addresses of others: arp_ignore() in net/ipv4/arp.c. 3 goes by the scope of
// the address, 4 to 7 are as 0, and 8 answers for nothing.
func silent(n int) bool { return n == 1 || n == 2 || n == 8 }

// discreet is the value of arp_announce with which an interface never asks in
// the name of another's address: arp_solicit(). Values above 2 are as 0.
func discreet(n int) bool { return n == 2 }

// wants are the knobs that the VIPs need. All of them are about IPv4: IPv6 looks
// for the address on the interface that was asked (ndisc_recv_ns()), and has no
// reverse path filter.
func (w *view) wants(vips []VIP) (all []want, err error) {
	if !slices.ContainsFunc(vips, func(v VIP) bool { return v.Addr.Is4() }) {
		return nil, nil
	}
	arp, err := w.arp()
	if err != nil {
		return nil, err
	}
	filters, err := w.filters(vips)
	return append(arp, filters...), err
}

func (w *view) arp() (all []want, err error) {
	for _, k := range []struct {
		name   string
		value  int
		accept func(int) bool
		why    string
	}{
		{"arp_ignore", 1, silent, "answer ARP only for addresses of the interface that is asked"},
		{"arp_announce", 2, discreet, "never ask by ARP with the VIP as sender"},
	} {
		value := strconv.Itoa(k.value)
		for _, dev := range []string{"all", "lo"} {
			all = append(all, want{sysctl.Conf4(dev, k.name), value, k.accept, k.why})
		}
		common, err := w.found(sysctl.Conf4("all", k.name))
		if err != nil {
			return nil, err
		}
		if !k.accept(common) {
			common = k.value
		}
		for _, dev := range w.wires() { // the larger one counts, which may be a worse one
			own, err := w.found(sysctl.Conf4(dev, k.name))
			if err != nil {
				return nil, err
			}
			if !k.accept(max(common, own)) {
				accept := func(n int) bool { return k.accept(max(common, n)) }
				all = append(all, want{sysctl.Conf4(dev, k.name), value, accept, k.why})
			}
		}
	}
	return all, nil
}

// filters are the reverse path filters of tunnel devices: no route to a client
// leads through the tunnel, so strict filtering drops all, and loose filtering
// does where the device has no IPv4 address (__fib_validate_source() in
// net/ipv4/fib_frontend.c).
func (w *view) filters(vips []VIP) (all []want, err error) {
	var bare []string
	for _, dev := range receivers(vips, 4) {
		has, err := w.hasAddress(dev, vips)
		if err != nil {
			return nil, err
		}
		if !has {
			bare = append(bare, dev)
			continue
		}
		common, err := w.found(sysctl.Conf4("all", "rp_filter"))
		if err != nil {
			return nil, err
		}
		own, err := w.found(sysctl.Conf4(dev, "rp_filter"))
		if err != nil {
			return nil, err
		}
		if max(common, own) == 1 {
			all = append(all, want{sysctl.Conf4(dev, "rp_filter"), "2", func(n int) bool { return max(common, n) != 1 },
				"strict filtering drops what comes out of a tunnel"})
		}
	}
	off, err := w.filtersOff(bare)
	return append(all, off...), err
}

// filtersOff turns filtering off for some devices. That takes "all" to be 0, so
// the other interfaces get its value as their own.
func (w *view) filtersOff(devs []string) (all []want, err error) {
	common, err := w.found(sysctl.Conf4("all", "rp_filter"))
	if err != nil || len(devs) == 0 {
		return nil, err
	}
	zero := func(n int) bool { return n == 0 }
	var off []want
	for _, dev := range devs {
		off = append(off, want{sysctl.Conf4(dev, "rp_filter"), "0", zero, "filtering drops what comes out of a tunnel without an address"})
	}
	if common == 0 {
		return off, nil
	}
	others := []string{"default"}
	for _, l := range w.links {
		others = append(others, l.Attrs().Name)
	}
	for _, dev := range others {
		if slices.Contains(devs, dev) {
			continue
		}
		own, err := w.found(sysctl.Conf4(dev, "rp_filter"))
		if err != nil {
			return nil, err
		}
		if own < common {
			all = append(all, want{sysctl.Conf4(dev, "rp_filter"), strconv.Itoa(common), func(n int) bool { return n >= common },
				"keep filtering here, as all is turned off"})
		}
	}
	all = append(all, want{sysctl.Conf4("all", "rp_filter"), "0", zero, "the larger one of all and the tunnel's counts"})
	return append(all, off...), nil
}

// hasAddress is true when the device has an IPv4 address once the VIPs are there.
func (w *view) hasAddress(dev string, vips []VIP) (bool, error) {
	for _, v := range vips {
		if v.Dev == dev && v.Addr.Is4() {
			return true, nil
		}
	}
	rest, err := w.addresses(dev, netlink.FAMILY_V4)
	return len(rest) > 0, err
}

// addresses are those of a device that are not of leaving VIPs, nor the kernel's
// own: link-local ones, and on sit0 one for every IPv4 address (add_v4_addrs() in
// net/ipv6/addrconf.c).
func (w *view) addresses(dev string, family int) (rest []netlink.Addr, err error) {
	link := w.link(dev)
	if link == nil {
		return nil, nil
	}
	list, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, family) })
	if err != nil {
		return nil, &OpError{"list addresses of", dev, err}
	}
	for _, a := range list {
		leaves := slices.ContainsFunc(w.state.VIPs, func(v VIP) bool { return v.Leaving && !v.Found && v.Dev == dev && a.IPNet.String() == v.host() })
		if !leaves && !a.IP.IsLinkLocalUnicast() && !compatible(a.IP) {
			rest = append(rest, a)
		}
	}
	return rest, nil
}

// compatible is true for an IPv6 address that is made of an IPv4 one, ::192.0.2.10.
func compatible(ip net.IP) bool {
	return ip.To4() == nil && len(ip) == net.IPv6len && !slices.ContainsFunc(ip[:12], func(b byte) bool { return b != 0 })
}

// receivers are the tunnel devices of the VIPs of an IP version, or of both: 0.
func receivers(vips []VIP, ip int) (devs []string) {
	for _, v := range vips {
		if dev := v.receiver(); dev != "" && (ip == 0 || version(v.Addr) == ip) && !slices.Contains(devs, dev) {
			devs = append(devs, dev)
		}
	}
	return devs
}
