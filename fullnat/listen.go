package fullnat

import (
	"fmt"
	"net/netip"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// backlog is cut to net.core.somaxconn by the kernel.
const backlog = 65535

// openListener opens one of a service's listening sockets. Several are bound to
// one address (SO_REUSEPORT) and the kernel spreads clients over them. What
// accepted sockets inherit is set here, once.
func openListener(at endpoint, addr netip.AddrPort) (int32, error) {
	a := newSockaddr(addr)
	kind := unix.SOCK_STREAM
	if at.protocol == ipvs.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, e := sysSocket(a.family(), kind)
	if e != noErr {
		return -1, e
	}
	sysSetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	sysSetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	allowForeign(fd, a.family())
	if kind == unix.SOCK_STREAM {
		sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		keepAlive(fd)
	} else {
		roomy(fd)
		if diverted(at.ServiceKey) {
			sysSetInt(fd, unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, 1)
			sysSetInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR, 1)
		}
		// Answers that are too long for the way to a client are sent in fragments
		// by the routers on it, rather than lost until the kernel knows.
		sysSetInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	}
	if diverted(at.ServiceKey) {
		if e = transparent(fd, a.family()); e != noErr {
			sysClose(fd)
			return -1, fmt.Errorf("%w (%w)", ErrPermission, e)
		}
	}
	if e = sysBind(fd, &a); e != noErr {
		sysClose(fd)
		return -1, e
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(int(fd), backlog); err != nil {
			sysClose(fd)
			return -1, err
		}
		// Accepted sockets inherit this, too, if it is set after listen: the ACK
		// of a request waits for the answer that most often follows.
		sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
	}
	return fd, nil
}

// spare is how many of the process's descriptors services leave to the rest of it,
// so that it can be told that they are too many.
const spare = 64

// openListeners opens n sockets beside those that there are, all or none.
func openListeners(at endpoint, have []int32, n int) (fds []int32, err error) {
	addr := at.Addr
	switch {
	case !diverted(at.ServiceKey):
		if len(have) == 0 {
			err = vacant(at)
		}
	case len(have) > 0:
		addr = socketAddr(have[0])
	default:
		addr, err = freePort(at)
	}
	for most := maxFiles(); err == nil && len(fds) < n; {
		var fd int32
		if fd, err = openListener(at, addr); err != nil {
			break
		}
		fds = append(fds, fd)
		if int64(fd) >= most-min(spare, most/4) { // the lowest that was free
			err = unix.EMFILE
		}
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	return fds, nil
}

// vacant fails where somebody listens already: SO_REUSEPORT would let another
// goipvsd in beside us, and clients be spread over both. Of UDP it cannot be told,
// as a server of all the machine's addresses may stay beside one of ours.
func vacant(at endpoint) error {
	if at.protocol == ipvs.UDP {
		return nil
	}
	a := newSockaddr(at.Addr)
	fd, e := sysSocket(a.family(), unix.SOCK_STREAM)
	if e != noErr {
		return e
	}
	defer sysClose(fd)
	sysSetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // connections of before do not count
	allowForeign(fd, a.family())
	if e := sysBind(fd, &a); e != noErr {
		return e
	}
	return nil
}

// allowForeign lets a socket be bound to an address that is not the machine's yet:
// a VIP may move here later.
func allowForeign(fd int32, family int) {
	sysSetInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	if family == unix.AF_INET6 {
		sysSetInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		sysSetInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	}
}

// freePort is a port of the loopback address that nothing has, for the sockets
// of a diverted service.
func freePort(at endpoint) (netip.AddrPort, error) {
	a := newSockaddr(netip.AddrPortFrom(loopback(familyOf(at.AF())), 0))
	kind := unix.SOCK_STREAM
	if at.protocol == ipvs.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, e := sysSocket(a.family(), kind)
	if e != noErr {
		return netip.AddrPort{}, e
	}
	defer sysClose(fd)
	if e := sysBind(fd, &a); e != noErr { // without SO_REUSEADDR, so that it is nobody's
		return netip.AddrPort{}, e
	}
	return socketAddr(fd), nil
}

// socketAddr is what a socket is bound to, nothing if that cannot be told.
func socketAddr(fd int32) netip.AddrPort {
	var a sockaddr
	if sysSockname(fd, &a) != noErr {
		return netip.AddrPort{}
	}
	return a.addrPort()
}

func closeAll(fds []int32) {
	for _, fd := range fds {
		sysClose(fd)
	}
}

// roomy gives a UDP socket, on which all clients of a loop meet, a queue for
// bursts; beyond the system's limit only with CAP_NET_ADMIN.
func roomy(fd int32) {
	const size = 4 << 20
	if sysSetInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != noErr {
		sysSetInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	}
	if sysSetInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size) != noErr {
		sysSetInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size)
	}
}

// serve starts accepting on a socket, which is the loop's from then on.
func (l *loop) serve(svc *service, p ipvs.Protocol, fd int32) {
	i := 0
	for i < len(l.listeners) && l.listeners[i] != nil {
		i++
	}
	if i == len(l.listeners) {
		l.listeners = append(l.listeners, nil)
	}
	switch {
	case p == ipvs.UDP:
		l.engine.takeTrains(fd)
	case !diverted(svc.key):
		l.attract(fd)
	}
	l.listenGen++
	ln := &listener{loop: l, fd: fd, index: int32(i), gen: l.listenGen, svc: svc, burst: 1, datagrams: p == ipvs.UDP, quiet: true}
	l.quiet++
	if diverted(svc.key) {
		ln.addr = socketAddr(fd)
	} else {
		ln.own = &virtual{ln: ln, addr: svc.key.Addr, fd: fd}
	}
	l.listeners[i] = ln
	if l.held || l.paused && !ln.datagrams {
		return
	}
	if e := l.listen(ln); e != noErr {
		l.engine.log.Error("cannot wait for connections yet", "service", svc.key, "err", e) // fs.epoll.max_user_watches
	}
}

// unserve stops accepting for a service and closes its sockets.
func (l *loop) unserve(svc *service) {
	for i, ln := range l.listeners {
		if ln == nil || ln.svc != svc {
			continue
		}
		if ln.quiet {
			l.quiet--
		}
		l.listeners[i] = nil
		sysEpollControl(l.epoll, unix.EPOLL_CTL_DEL, ln.fd, 0, 0)
		if ln.retired = true; ln.table.n == 0 { // answers leave by it until its last flow ends
			sysClose(ln.fd)
		}
	}
}

// release closes everything that the loop has, when it ends: its connections
// with a RST.
func (l *loop) release() {
	l.deliverAll()
	for i := range l.conns.used {
		if c := l.conns.at(i); c.gen%2 == 1 {
			l.reset(c)
		}
	}
	for i := range l.flows.used {
		if f := l.flows.at(i); f.gen%2 == 1 {
			l.endFlow(f)
		}
	}
	for i, ln := range l.listeners {
		if ln != nil {
			sysClose(ln.fd)
			l.listeners[i] = nil
		}
	}
	for _, p := range l.pipes {
		sysClose(p.r)
		sysClose(p.w)
	}
}
