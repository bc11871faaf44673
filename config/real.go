package config

import (
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
)

// Real is a real server of a service. A range in the file has become one Real
// for each address.
type Real struct {
	// Host is a name that [Config.Bind] turns into Addr; empty when the file
	// gives an address.
	Host string
	Addr netip.Addr
	// Port is the service's when the file gives none. 0 keeps the port that the
	// client used: services of a firewall mark or of port 0.
	Port         uint16
	Weight       int32
	Method       ipvs.Method
	Upper, Lower uint32
	Encap        ipvs.Encap
	Notify       Notify
	// Checks has an element for each of Virtual.Checks, with what this server
	// overrides. Where that is nothing it is that very slice: not to be written to.
	Checks []Check

	Pos Position
}

// Target is the server as the file names it: "192.0.2.21:80",
// "[2001:db8::1]:80", "db1.example.com:3306"; without the port when that is 0.
func (r *Real) Target() string {
	switch {
	case r.Host != "":
		return r.Host + portSuffix(r.Port)
	case r.Port == 0:
		return r.Addr.String()
	}
	return netip.AddrPortFrom(r.Addr, r.Port).String()
}

// Destination is the server as the kernel is asked for it, with its full weight.
// FullNAT is no method of a kernel's; Addr must be valid.
func (r *Real) Destination() ipvs.Destination {
	return ipvs.Destination{
		Addr:   netip.AddrPortFrom(r.Addr, r.Port),
		Method: r.Method, Weight: r.Weight, Upper: r.Upper, Lower: r.Lower, Encap: r.Encap,
	}
}
