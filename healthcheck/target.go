package healthcheck

import (
	"fmt"
	"net/netip"
)

// A Target is the server that a check looks at, as part of a virtual service.
// It is comparable.
type Target struct {
	Real     netip.AddrPort // the real server; port 0 only where the check has a port or needs none
	Address  netip.Addr     // looked at instead of Real's address, as a management address may be; the zero value: Real's
	Virtual  netip.AddrPort // the VIP; the zero value for a service by firewall mark
	FWMark   uint32         // the service's firewall mark, 0 for none: external checks are told
	Protocol string         // of the service: "tcp", "udp", "sctp"; external checks are told
	Mark     uint32         // SO_MARK of the check's packets, 0: none. With Via "path" a service of this mark forwards them
	Direct   bool           // with Via "path": the server answers from the VIP past us (DR, TUN), rather than through us (NAT)
	Source   netip.Addr     // source address; the zero value leaves it to the kernel
}

// address is where the check's packets go.
func (t Target) address(c *Check) netip.AddrPort {
	to := t.Real
	switch {
	case c.Via == ViaPath:
		to = t.Virtual
	case t.Address.IsValid():
		to = netip.AddrPortFrom(t.Address, to.Port())
	}
	if c.Port != 0 {
		to = netip.AddrPortFrom(to.Addr(), c.Port)
	}
	return to
}

// crossed tells that the check's source is of the other family than where it goes,
// as when a host name turned out to have such an address: that says nothing about
// the server.
func (t Target) crossed(c *Check) error {
	if !t.Source.IsValid() || c.Type == "on" || c.Type == "off" || c.Type == "external" { // the last opens no socket of ours
		return nil
	}
	to := t.address(c).Addr()
	if !to.IsValid() || t.Source.Unmap().Is4() == to.Unmap().Is4() {
		return nil
	}
	return ours(fmt.Errorf("source %s cannot reach %s, which is of the other family", t.Source, to))
}

// seen is what a check can see of the target: checks of the same server for
// several virtual services are one, unless the service matters.
func (t Target) seen(c *Check, k kind) Target {
	if !k.whole && c.Via != ViaPath {
		t.Virtual, t.FWMark, t.Protocol, t.Direct = netip.AddrPort{}, 0, "", false
	}
	return t
}
