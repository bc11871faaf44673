package healthcheck

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// away returns our own trouble when an error that could be the server's comes
// from our not getting out of the house: no route, or a link that is down. The
// kernel tells a route without sending anything when a datagram socket is
// connected. A router that says "unreachable" is not our trouble.
func (d *Dialer) away(err error) error {
	if class := Class(err); class != "timeout" && class != "unreachable" || !d.Address().IsValid() {
		return err
	}
	from, trouble := d.route()
	if trouble != nil {
		return trouble
	}
	if name, up := links.find(from); !up {
		return ours(fmt.Errorf("our link %s is down: %w", name, err))
	}
	if d.Check.Via == ViaPath && d.Target.Direct {
		return or(d.deaf(), err)
	}
	return err
}

// deaf finds out why nobody answers to a check by the path: the answers come
// from the VIP, and a kernel that has the VIP itself takes them for forged
// unless accept_local is set, and even then where rp_filter is strict and the VIP
// on another link (fib_validate_source). IPv6 has no such rule.
func (d *Dialer) deaf() error {
	vip, real := d.Target.Virtual.Addr(), d.Target.Real.Addr()
	at, local := links.link(vip)
	if !local || !vip.Is4() {
		return nil
	}
	from, err := routeTo(net.Dialer{}, real)
	if err != nil {
		return ours(fmt.Errorf("no route to %v: %w", real, err))
	}
	link, known := links.link(from)
	switch {
	case !known:
		return nil
	case acceptsLocal("all") || acceptsLocal(link.Name):
		if at.Name == link.Name {
			return nil // the VIP's own link is a right one for it
		}
		return strict(vip, link.Name)
	}
	return ours(fmt.Errorf("answers from %v, which is our own, are dropped here: set net.ipv4.conf.%s.accept_local=1", vip, link.Name))
}

// strict tells whether the reverse path filter of a link drops answers from the
// VIP. The larger of the link's own and that of all counts, and 2 lets them in.
func strict(vip netip.Addr, link string) error {
	if max(conf("all", "rp_filter"), conf(link, "rp_filter")) != "1" {
		return nil
	}
	return ours(fmt.Errorf("answers from %v, which is our own, are dropped here: set net.ipv4.conf.%s.rp_filter=2 (1, there or in conf.all, is strict)", vip, link))
}

func acceptsLocal(link string) bool { return conf(link, "accept_local") == "1" }

// conf is a sysctl of a link, empty when it cannot be read.
func conf(link, name string) string {
	b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + link + "/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// route is the source address of the way to the server. That there is no way is
// our own trouble.
func (d *Dialer) route() (from netip.Addr, err error) {
	to := d.Address().Addr()
	dialer := net.Dialer{LocalAddr: d.local("udp")}
	if d.Target.Mark != 0 {
		dialer.Control = d.control
	}
	from, err = routeTo(dialer, to)
	switch {
	case err == nil:
		return from, nil
	case Judge(err) == Unknown:
		return from, err
	}
	return from, ours(fmt.Errorf("no route to %v: %w", to, err))
}

// routeTo asks the kernel for its way to an address, and returns the source
// address that the way has.
func routeTo(dialer net.Dialer, to netip.Addr) (from netip.Addr, err error) {
	if dialer.Control == nil && dialer.LocalAddr == nil && to.Zone() == "" && !to.Is4In6() {
		return plainRoute(to)
	}
	c, err := dialer.Dial("udp", netip.AddrPortFrom(to, 9).String()) // discard; nothing is sent
	if err != nil {
		return from, bare(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
}

// LinkTo is the name of the interface that packets to an address leave by, or ""
// when its source address is that of none.
func LinkTo(to netip.Addr) (string, error) {
	from, err := routeTo(net.Dialer{}, to)
	if err != nil {
		return "", err
	}
	i, _ := links.link(from)
	return i.Name, nil
}

// plainRoute is routeTo where nothing special is asked for, which is after every
// timeout: package net would make three times as many system calls.
func plainRoute(to netip.Addr) (from netip.Addr, err error) {
	family := unix.AF_INET
	if to.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return from, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(to, 9))); err != nil {
		return from, os.NewSyscallError("connect", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return from, os.NewSyscallError("getsockname", err)
	}
	return socketAddr(name).Addr().Unmap(), nil
}

// links remembers for a second which links have which addresses: when a rack
// fails, hundreds of checks ask at once.
var links linkCache

type linkCache struct {
	mu     sync.Mutex
	read   time.Time
	byAddr map[netip.Addr]net.Interface
}

// find returns the link that has the address, and whether it is up and has a
// carrier. An address that no link has is up as far as we know.
func (l *linkCache) find(a netip.Addr) (name string, up bool) {
	const needed = net.FlagUp | net.FlagRunning
	i, known := l.link(a)
	return i.Name, !known || i.Flags&needed == needed
}

func (l *linkCache) link(a netip.Addr) (i net.Interface, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.read) > time.Second {
		l.byAddr, l.read = readLinks(), time.Now()
	}
	i, known = l.byAddr[a]
	return i, known
}

func readLinks() map[netip.Addr]net.Interface {
	byAddr := make(map[netip.Addr]net.Interface)
	all, err := net.Interfaces()
	if err != nil {
		return byAddr
	}
	for _, i := range all {
		addrs, _ := i.Addrs() // a link that went meanwhile has none
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				ip, _ := netip.AddrFromSlice(n.IP)
				byAddr[ip.Unmap()] = i
			}
		}
	}
	return byAddr
}
