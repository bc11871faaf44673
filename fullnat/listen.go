package fullnat

import (
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// backlog is cut to net.core.somaxconn by the kernel.
const backlog = 65535

// openListener opens one of a service's listening sockets. Several are bound to
// one address (SO_REUSEPORT) and the kernel spreads clients over them. The
// address need not be the machine's yet (IP_FREEBIND): a VIP may move here
// later. What accepted sockets inherit is set here, once.
func openListener(k ipvs.ServiceKey) (int32, error) {
	a := newSockaddr(k.Addr)
	kind := unix.SOCK_STREAM
	if k.Protocol == ipvs.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, e := sysSocket(a.family(), kind)
	if e != noErr {
		return -1, e
	}
	sysSetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	sysSetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	sysSetInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	if a.family() == unix.AF_INET6 {
		sysSetInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		sysSetInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	}
	if kind == unix.SOCK_STREAM {
		sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		keepAlive(fd)
	} else {
		roomy(fd)
		// Answers that are too long for the way to a client are sent in fragments
		// by the routers on it, rather than lost until the kernel knows.
		sysSetInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
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
func (l *loop) serve(svc *service, fd int32) {
	i := 0
	for i < len(l.listeners) && l.listeners[i] != nil {
		i++
	}
	if i == len(l.listeners) {
		l.listeners = append(l.listeners, nil)
	}
	if svc.key.Protocol == ipvs.UDP {
		l.engine.takeTrains(fd)
	}
	l.listenGen++
	ln := &listener{fd: fd, index: int32(i), gen: l.listenGen, svc: svc, burst: 1, datagrams: svc.key.Protocol == ipvs.UDP}
	l.listeners[i] = ln
	if e := sysEpollControl(l.epoll, unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, newToken(kindListen, ln.index, ln.gen)); e != noErr {
		l.engine.log.Error("cannot wait for connections", "service", svc.key, "err", e) // fs.epoll.max_user_watches
	}
	if l.held || l.paused && !ln.datagrams {
		l.listen(ln, false)
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
