package doctor

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// flow counts a tracked connection of full NAT: the client addressed a virtual
// address, and the real server's answer goes to an address of this host.
func (g *gatherer) flow(f *netlink.ConntrackFlow) {
	client, ok1 := netip.AddrFromSlice(f.Forward.SrcIP)
	vip, ok2 := netip.AddrFromSlice(f.Forward.DstIP)
	rip, ok3 := netip.AddrFromSlice(f.Reverse.SrcIP)
	lip, ok4 := netip.AddrFromSlice(f.Reverse.DstIP)
	client, vip, rip, lip = client.Unmap(), vip.Unmap(), rip.Unmap(), lip.Unmap()
	if !ok1 || !ok2 || !ok3 || !ok4 || lip == client || rip == vip || !g.hasVIP(vip) {
		return
	}
	g.Facts.Conntrack.PerLIP[LIP{Addr: lip, To: netip.AddrPortFrom(rip, f.Reverse.SrcPort)}]++
}
