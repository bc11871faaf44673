package realserver

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/internal/dump"
)

// overhead is how many bytes a tunnel puts around a packet.
func (v VIP) overhead() int {
	ip := map[int]int{4: 20, 6: 40}[v.Outer]
	switch v.Tunnel.Kind {
	case "gre":
		return ip + 4
	case "gue":
		return ip + 8 + 4 // UDP, GUE
	}
	return ip
}

// advice is about segments that do not fit into a tunnel: clients send what the
// server's SYN-ACK allows, which the director never sees, so the cure is a
// smaller MSS on this host's route back.
func advice(all []VIP, vips []netip.Addr) (lines []string) {
	for _, v := range all {
		if v.Mode != TUN || !slices.Contains(vips, v.Addr) {
			continue
		}
		if line := v.mss(); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (v VIP) mss() string {
	route, link := wayBack(v.Addr)
	if link == nil {
		return fmt.Sprintf("%s: no default route: clients elsewhere get no answer", v.Addr)
	}
	mtu := link.Attrs().MTU
	if route.MTU > 0 {
		mtu = min(mtu, route.MTU)
	}
	header := 40 // IP and TCP
	if v.Addr.Is6() {
		header = 60
	}
	inner := mtu - v.overhead()
	mss := inner - header
	if route.AdvMSS > 0 && route.AdvMSS <= mss {
		return ""
	}
	ip := "ip"
	if v.Addr.Is6() {
		ip = "ip -6"
	}
	return fmt.Sprintf("packets larger than %d bytes do not fit into %s over an MTU of %d; where path MTU discovery is filtered, large uploads hang: %s route change default%s dev %s advmss %d",
		inner, v.Tunnel, mtu, ip, via(route.Gw), link.Attrs().Name, mss)
}

func via(gw net.IP) string {
	if gw == nil {
		return ""
	}
	return " via " + gw.String()
}

// wayBack is the default route, by which answers go to clients elsewhere.
func wayBack(addr netip.Addr) (netlink.Route, netlink.Link) {
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := dump.Whole(func() ([]netlink.Route, error) { return netlink.RouteList(nil, family) })
	if err != nil {
		return netlink.Route{}, nil // advice is not worth an error
	}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				continue
			}
		}
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			return r, link
		}
	}
	return netlink.Route{}, nil
}
