package topo

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/dump"
)

// Mark gives packets that come in to the host a firewall mark, as an iptables
// MARK rule would: those of the protocol (tcp, udp, sctp) to the address and
// port. Port 0 means every port and "" every protocol.
func (h *Host) Mark(proto string, to netip.AddrPort, mark uint32) error {
	links, err := dump.Whole(h.rt.LinkList)
	if err != nil {
		return fmt.Errorf("topo: %s: list interfaces: %w", h.Name, err)
	}
	for _, l := range links {
		if l.Type() != "veth" {
			continue
		}
		if err := h.mark(l.Attrs().Index, proto, to, mark); err != nil {
			return fmt.Errorf("topo: %s: mark %s %s on %s: %w", h.Name, proto, to, l.Attrs().Name, err)
		}
	}
	return nil
}

// mark uses traffic control, which needs no firewall in the kernel and sees
// packets before the firewall hooks of IPVS do.
func (h *Host) mark(index int, proto string, to netip.AddrPort, mark uint32) error {
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index,
		Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
	if err := h.rt.QdiscAdd(ingress); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add ingress qdisc: %w", err)
	}
	edit := netlink.NewSkbEditAction()
	edit.Mark = &mark
	filter := &netlink.Flower{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_INGRESS + 1, Protocol: unix.ETH_P_IP},
		EthType:     unix.ETH_P_IP,
		DestIP:      to.Addr().AsSlice(),
		DestPort:    to.Port(),
		Actions:     []netlink.Action{edit},
	}
	if to.Addr().Is6() {
		filter.Protocol, filter.EthType = unix.ETH_P_IPV6, unix.ETH_P_IPV6
	}
	if proto != "" {
		p, err := protocol(proto)
		if err != nil {
			return err
		}
		number := nl.IPProto(p.number)
		filter.IPProto = &number
	}
	return h.rt.FilterAdd(filter)
}
