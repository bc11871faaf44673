package healthcheck

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	return err
}

// route asks the kernel for the way to the server, and returns the source
// address that the way has. That there is none is our own trouble.
func (d *Dialer) route() (from netip.Addr, err error) {
	dialer := net.Dialer{Control: d.control, LocalAddr: d.local("udp")}
	to := netip.AddrPortFrom(d.Address().Addr(), 9) // discard; nothing is sent
	c, err := dialer.Dial("udp", to.String())
	if err != nil {
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			return from, ours(bare(err))
		}
		return from, ours(fmt.Errorf("no route to %v: %w", to.Addr(), bare(err)))
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.read) > time.Second {
		l.byAddr, l.read = readLinks(), time.Now()
	}
	i, known := l.byAddr[a]
	const needed = net.FlagUp | net.FlagRunning
	return i.Name, !known || i.Flags&needed == needed
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
