package fullnat

import (
	"net/netip"
	"syscall"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
	"golang.org/x/sys/unix"
)

// virtual is an address and port that clients address, of one listening socket.
// Most services have the one that they listen to. Services of a firewall mark
// and of port 0 are diverted (package tproxy): they have one for each that a
// client has addressed, for as long as there are connections to it, ghosts of
// them, or sessions.
type virtual struct {
	ln    *listener
	addr  netip.AddrPort
	salt  uint32 // tells sessions apart that a client has by one port
	users int
	// Of UDP:
	fd      int32 // by which answers leave
	talkers []ref // sessions with answers
}

// diverted tells whether the packets of a service's clients are brought to its
// sockets by rules, as no socket can be bound to what they address.
func diverted(k ipvs.ServiceKey) bool { return k.FWMark != 0 || k.Addr.Port() == 0 }

// protocols are those that a service listens for.
func protocols(k ipvs.ServiceKey) []ipvs.Protocol {
	if k.FWMark != 0 {
		return []ipvs.Protocol{ipvs.TCP, ipvs.UDP}
	}
	return []ipvs.Protocol{k.Protocol}
}

// addressed is the virtual that an accepted socket is of; nil: it is of none, as
// somebody on this machine has connected to the listening socket itself.
func (l *loop) addressed(ln *listener, fd int32) *virtual {
	if ln.own != nil {
		return ln.own
	}
	var to sockaddr
	if sysSockname(fd, &to) != noErr {
		return nil
	}
	return l.virtualOf(ln, &to)
}

// addressedBy is the virtual that the datagrams in a place of a batch are to.
func (l *loop) addressedBy(ln *listener, b *batch, i int32) *virtual {
	if ln.own != nil {
		return ln.own
	}
	to, ok := b.controls[i].destination()
	if !ok {
		return nil
	}
	return l.virtualOf(ln, &to)
}

// virtualOf finds or makes the virtual of an address. One that is made has no
// user yet: who finds none for it lets it go by vacate.
func (l *loop) virtualOf(ln *listener, to *sockaddr) *virtual {
	addr := to.unscoped()
	if at := ln.virtuals[addr]; at != nil {
		return at
	}
	if addr == ln.addr {
		return nil
	}
	at := &virtual{ln: ln, addr: addr, salt: hashOf(to), fd: -1}
	if ln.datagrams {
		if at.fd = l.openAnswering(to); at.fd < 0 {
			return nil
		}
	}
	if ln.virtuals == nil {
		ln.virtuals = make(map[netip.AddrPort]*virtual)
	}
	ln.virtuals[addr] = at
	return at
}

// openAnswering opens the socket by which answers leave from an address that
// need not be the machine's. Nothing comes in by it, as it is connected: to a
// port of this machine that sends nothing. Clients' datagrams that are diverted
// pass it by in any case (nf_tproxy_get_sock_v4 takes connected sockets only, and
// from their peer); others may be for a service or program of that address.
func (l *loop) openAnswering(from *sockaddr) int32 {
	fd, e := sysSocket(from.family(), unix.SOCK_DGRAM)
	if e != noErr {
		l.errs.noFiles.Add(1)
		return -1
	}
	_ = transparent(fd, from.family()) // without it bind says so
	_ = sysSetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	_ = sysSetInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT) // as for listening sockets
	discard := newSockaddr(netip.AddrPortFrom(loopback(from.family()), 9))
	if e = sysBind(fd, from); e == noErr {
		e = sysConnect(fd, &discard)
	}
	if e != noErr {
		sysClose(fd)
		return -1
	}
	return fd
}

// vacate ends a virtual that nobody uses any more.
func (l *loop) vacate(at *virtual) {
	if at == nil || at.users > 0 || at == at.ln.own {
		return
	}
	delete(at.ln.virtuals, at.addr)
	if at.fd >= 0 {
		sysClose(at.fd)
		at.fd = -1
	}
}

// join is that a connection or session of a virtual, or a ghost, begins. Those of
// what a service listens to are not counted, as they may be in several loops.
func (at *virtual) join() {
	if at != at.ln.own {
		at.users++
	}
}

// leave is that one is no more.
func (l *loop) leave(at *virtual) {
	if at != at.ln.own {
		at.users--
		l.vacate(at)
	}
}

// reaches is where connections to a virtual go if they go to this server: one
// without a port of its own has the port that the client addressed, and so has
// any of a diverted service with persistence (ip_vs_sched_persist).
func (at *virtual) reaches(d *server) sockaddr {
	to := d.connect
	if to.port() == 0 || at.ln.own == nil && at.ln.svc.settings.Load().persistent {
		to.setPort(at.addr.Port())
	}
	return to
}

// named is what a service of a firewall mark has in place of an address in lists
// of connections: the mark written as one, as in the kernel's. Others have their
// own.
func named(k ipvs.ServiceKey) netip.AddrPort {
	if k.FWMark == 0 {
		return k.Addr
	}
	return procfs.MarkAddr(k.FWMark, k.AF())
}

func loopback(family int) netip.Addr {
	if family == unix.AF_INET6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// transparent lets a socket have addresses that are not the machine's.
func transparent(fd int32, family int) syscall.Errno {
	if family == unix.AF_INET6 {
		return sysSetInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1)
	}
	return sysSetInt(fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1)
}

func familyOf(f ipvs.Family) int {
	if f == ipvs.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
