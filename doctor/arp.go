package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// others are the answers for an address that some other host gave.
func (f *Facts) others(vip netip.Addr) (list []ARPAnswer) {
	for _, a := range f.ARP.Answers {
		if a.Addr == vip && !slices.ContainsFunc(list, func(x ARPAnswer) bool { return x.MAC == a.MAC }) {
			list = append(list, a)
		}
	}
	return list
}

// onlyBackup: a sync daemon runs here as backup and none as master, so another
// director has the virtual addresses, as it should.
func (f *Facts) onlyBackup() bool {
	backup := false
	for _, d := range f.Daemons {
		switch d.State.String() {
		case "master":
			return false
		case "backup":
			backup = true
		}
	}
	return backup
}

// vipDuplicate: on the active director any answer for a virtual address is a
// fault, as its own it does not hear; on a stand-by one answer is right.
func vipDuplicate(f *Facts) (found []Finding) {
	for _, vip := range f.vips() {
		answers := f.others(vip)
		if f.onlyBackup() && len(answers) < 2 {
			continue
		}
		for _, a := range answers {
			if _, rs := f.macOwner(a.MAC); rs || !f.toAny(a) {
				continue // arp-flux-vip, proxy-arp
			}
			found = append(found, Finding{
				Object: vip.String(),
				Seen:   fmt.Sprintf("%s on %s answers for the address too, and is no real server of a service here", a.MAC, a.Link),
				Why:    "two hosts have the address: which of them a client gets is chance, and one of them does not balance",
				Fix: []string{"# find the host with " + a.MAC + " (a switch knows the port) and take the address away from it; with VRRP make the two",
					"# see each other: protocol 112 to 224.0.0.18, the same virtual_router_id and password"},
			})
		}
	}
	return found
}

func (f *Facts) toAny(a ARPAnswer) bool {
	return slices.ContainsFunc(f.ARP.Answers, func(x ARPAnswer) bool { return x.Addr == a.Addr && x.MAC == a.MAC && x.ToAny })
}

func proxyARP(f *Facts) (found []Finding) {
	for _, vip := range f.vips() {
		for _, a := range f.others(vip) {
			if f.toAny(a) || vip.Is6() {
				continue
			}
			found = append(found, Finding{
				Object: vip.String(),
				Seen:   fmt.Sprintf("%s on %s answers for the address, but only a question that has a sender: that is a proxy", a.MAC, a.Link),
				Why:    "clients and routers send packets for the address to the proxy instead of this director",
				Fix: []string{"# on the host with " + a.MAC + ": sysctl -w net.ipv4.conf.all.proxy_arp=0 net.ipv4.conf.IF.proxy_arp=0",
					"# and proxy_arp_pvlan=0 likewise"},
			})
		}
	}
	return found
}

// exposed are the interfaces by which the host answers ARP for addresses that
// it has elsewhere: arp_ignore is 0.
func (f *Facts) exposed() (names []string) {
	for _, l := range f.arpLinks() {
		if v, known := f.eff("arp_ignore", l.Name); known && v == 0 {
			names = append(names, l.Name)
		}
	}
	return names
}

func held4(f *Facts) (vips []string) {
	for _, a := range f.held() {
		if a.Addr().Is4() {
			vips = append(vips, a.Addr().String())
		}
	}
	return vips
}

const fluxWhy = "whoever answers first for the address gets all traffic, past the scheduler and past health checks"

func arpFluxVIP(f *Facts) (found []Finding) {
	if vips, open := held4(f), f.exposed(); len(vips) > 0 && len(open) > 0 {
		found = append(found, Finding{
			Object: strings.Join(vips, " "),
			Seen:   fmt.Sprintf("this real server answers ARP for the address by %s: %s", strings.Join(open, ", "), f.said("arp_ignore", open[0])),
			Why:    fluxWhy,
			Fix:    []string{setConf("all", "arp_ignore", 1)},
			Undo:   []string{f.unsetConf("all", "arp_ignore")},
		})
	}
	for _, vip := range f.vips() {
		for _, a := range f.others(vip) {
			rs, ok := f.macOwner(a.MAC)
			if !ok || f.onlyBackup() {
				continue
			}
			found = append(found, Finding{
				Object: vip.String(),
				Seen:   fmt.Sprintf("the real server %s (%s on %s) answers for the virtual address", rs, a.MAC, a.Link),
				Why:    fluxWhy,
				Fix:    []string{fmt.Sprintf("# on %s: goipvs realserver add %s", rs, vip)},
			})
		}
	}
	return found
}

// arpSysctlWrongInterface: arp_ignore was set, but on lo, where no ARP is heard.
func arpSysctlWrongInterface(f *Facts) []Finding {
	if len(held4(f)) == 0 || len(f.exposed()) == 0 || f.Conf["lo"]["arp_ignore"] == 0 {
		return nil
	}
	iface := f.exposed()[0]
	return []Finding{{
		Object: strings.Join(held4(f), " "),
		Seen:   fmt.Sprintf("arp_ignore is %d on lo, but for %s the %s", f.Conf["lo"]["arp_ignore"], iface, f.said("arp_ignore", iface)),
		Why:    "the value of the interface that a question comes in by counts, and none ever comes in by lo: " + fluxWhy,
		Fix:    []string{setConf("all", "arp_ignore", 1)},
		Undo:   []string{f.unsetConf("all", "arp_ignore")},
	}}
}

// vipOnEthernet: no sysctl helps when the address is on the interface itself.
func vipOnEthernet(f *Facts) (found []Finding) {
	for _, a := range f.Addrs {
		link, _ := f.link(a.Link)
		if !link.ARP || f.hasVIP(a.Addr()) || !f.isWanted(a.Addr()) && !f.isHeld(a.Addr()) {
			continue
		}
		if a.Tentative || a.DADFailed {
			continue // v6-vip-on-link
		}
		found = append(found, Finding{
			Object: a.Addr().String(),
			Seen:   fmt.Sprintf("%s has %s: a real server must not have the virtual address on an interface that answers for it", a.Link, a.Prefix),
			Why:    fluxWhy,
			Fix:    []string{fmt.Sprintf("%s address del %s dev %s", ip(a.Addr()), a.Prefix, a.Link), "goipvs realserver add " + a.Addr().String()},
			Undo:   []string{fmt.Sprintf("%s address add %s dev %s", ip(a.Addr()), a.Prefix, a.Link)},
		})
	}
	return found
}

func (f *Facts) isHeld(a netip.Addr) bool {
	return slices.ContainsFunc(f.held(), func(x Addr) bool { return x.Addr() == a })
}

// arpAnnounceVIP: an answer leaves with the virtual address as its source, so
// the question for the gateway names it as sender, unless arp_announce is 2. 1
// is enough when the virtual address is in no network of the interface
// (arp_solicit in net/ipv4/arp.c).
func arpAnnounceVIP(f *Facts) (found []Finding) {
	for _, l := range f.arpLinks() {
		v, known := f.eff("arp_announce", l.Name)
		i := slices.IndexFunc(f.held(), func(a Addr) bool {
			return a.Addr().Is4() && (v == 0 || v == 1 && f.onLink(a.Addr(), l.Name))
		})
		if !known || v > 1 || i < 0 {
			continue
		}
		found = append(found, Finding{
			Object: f.held()[i].Addr().String(),
			Seen:   fmt.Sprintf("%s: %s asks for its neighbours in the name of the virtual address", f.said("arp_announce", l.Name), l.Name),
			Why:    "the router that is asked learns from it that the virtual address is here, and sends all traffic past the director",
			Fix:    []string{setConf("all", "arp_announce", 2)},
			Undo:   []string{f.unsetConf("all", "arp_announce")},
		})
		break
	}
	for _, a := range f.ARP.Heard {
		if a.Request && !a.Gratuitous && f.hasVIP(a.Addr) {
			found = append(found, Finding{
				Object: a.Addr.String(),
				Seen:   fmt.Sprintf("%s on %s asks for a neighbour with the virtual address as sender%s", a.MAC, a.Link, f.who(a.MAC)),
				Why:    "routers learn from it that the virtual address is there, and send all traffic past this director",
				Fix:    []string{"# on that real server: sysctl -w net.ipv4.conf.all.arp_announce=2"},
			})
		}
	}
	return found
}

func (f *Facts) who(mac string) string {
	if rs, ok := f.macOwner(mac); ok {
		return ": it is the real server " + rs.String()
	}
	return ""
}

// directorARPIgnore: the sysctls of a real server on the director. If there are
// connections the address gets here by a route, without ARP.
func directorARPIgnore(f *Facts) (found []Finding) {
	for _, a := range f.Addrs {
		link, ok := f.link(a.Link)
		if !ok || link.ARP || !a.Addr().Is4() || !f.hasVIP(a.Addr()) || f.onlyBackup() || f.isBackupOf(a.Addr()) || f.hasConnections(a.Addr()) {
			continue
		}
		for _, l := range f.arpLinks() {
			v, known := f.eff("arp_ignore", l.Name)
			if !known || v == 0 {
				continue
			}
			found = append(found, Finding{
				Object: a.Addr().String(),
				Seen:   fmt.Sprintf("the virtual address is on %s, which does no ARP, and %s", a.Link, f.said("arp_ignore", l.Name)),
				Why:    "nobody answers for the address; only where a route leads to this director (BGP, static) is that right",
				Fix:    []string{fmt.Sprintf("goipvs vip add %s --dev %s", a.Addr(), l.Name), fmt.Sprintf("ip address del %s dev %s", a.Prefix, a.Link)},
				Undo:   []string{fmt.Sprintf("ip address add %s dev %s", a.Prefix, a.Link), fmt.Sprintf("goipvs vip del %s --dev %s", a.Addr(), l.Name)},
			})
			break
		}
	}
	return found
}

func (f *Facts) hasConnections(vip netip.Addr) bool {
	return slices.ContainsFunc(f.Connections, func(c Connections) bool { return c.Virtual.Addr() == vip })
}

func garpOnIfup(f *Facts) (found []Finding) {
	for _, file := range f.Legacy {
		found = append(found, Finding{
			Severity: Warning,
			Object:   file,
			Seen:     "the file brings an alias of lo up without ARPUPDATE=no",
			Why:      "at boot the network scripts announce the address by gratuitous ARP, and routers send all traffic here until they ask again",
			Fix:      []string{"echo ARPUPDATE=no >> " + file},
			Undo:     []string{"sed -i /^ARPUPDATE=no$/d " + file},
		})
	}
	for _, a := range f.ARP.Heard {
		if _, rs := f.macOwner(a.MAC); a.Gratuitous && rs && f.hasVIP(a.Addr) {
			found = append(found, Finding{
				Severity: Warning,
				Object:   a.Addr.String(),
				Seen:     fmt.Sprintf("%s on %s announced the virtual address by gratuitous ARP%s", a.MAC, a.Link, f.who(a.MAC)),
				Why:      "routers send all traffic there until they ask again",
				Fix:      []string{"# on that real server: goipvs realserver add " + a.Addr.String() + ", and no network script that brings the alias up"},
			})
		}
	}
	return found
}
