package doctor

import (
	"fmt"
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
)

type addr = netip.Addr

// serviceFlag names a service as goipvs -A does.
func serviceFlag(k ipvs.ServiceKey) string {
	switch {
	case k.FWMark != 0 && k.AF() == ipvs.IPv6:
		return fmt.Sprintf("-f %d -6", k.FWMark)
	case k.FWMark != 0:
		return fmt.Sprintf("-f %d", k.FWMark)
	case k.Protocol == ipvs.UDP:
		return "-u " + k.Addr.String()
	case k.Protocol == ipvs.SCTP:
		return "--sctp-service " + k.Addr.String()
	}
	return "-t " + k.Addr.String()
}

// methodFlag is the method of a destination as goipvs -a takes it.
func methodFlag(d ipvs.Destination) string {
	switch d.Method {
	case ipvs.DirectRoute:
		return "-g"
	case ipvs.Tunnel:
		switch d.Encap.Type {
		case ipvs.GUE:
			return fmt.Sprintf("-i --tun-type gue --tun-port %d", d.Encap.Port)
		case ipvs.GRE:
			return "-i --tun-type gre"
		}
		return "-i"
	}
	return "-m"
}

// host is the address as a route or an address of one host.
func host(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }

// ip is the command for addresses and routes of the family.
func ip(a netip.Addr) string {
	if a.Is6() {
		return "ip -6"
	}
	return "ip"
}

// edit changes a destination and keeps its method.
func edit(s Service, d ipvs.DestinationInfo, options string) string {
	return fmt.Sprintf("goipvs -e %s -r %s %s %s", serviceFlag(s.ServiceKey), d.Addr, methodFlag(d.Destination), options)
}
