package fullnat

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/goipvs/goipvs/fullnat/tproxy"
	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// Listeners returns copies of the sockets that services listen on, for another
// process: by exec (os/exec's ExtraFiles), over a unix socket, or for systemd
// to keep (FDSTORE). They are the same sockets, so connections that wait on
// them are lost by neither; Config.Inherited takes them, in any order and under
// any names. The caller closes the files.
func (e *Engine) Listeners() ([]*os.File, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listeners(e.keys())
}

// ListenersOf is Listeners for some services; those that there are not have none.
func (e *Engine) ListenersOf(keys []ipvs.ServiceKey) ([]*os.File, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listeners(slices.DeleteFunc(slices.Clone(keys), func(k ipvs.ServiceKey) bool { return e.services[k] == nil }))
}

func (e *Engine) listeners(keys []ipvs.ServiceKey) ([]*os.File, error) {
	var files []*os.File
	for _, k := range keys {
		for _, p := range protocols(k) {
			for _, fd := range e.services[k].sockets[p] {
				d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
				if err != nil {
					for _, f := range files {
						f.Close()
					}
					return nil, opError("hand over", k, err)
				}
				files = append(files, os.NewFile(uintptr(d), k.String()))
			}
		}
	}
	return files, nil
}

func (e *Engine) keys() []ipvs.ServiceKey {
	keys := make([]ipvs.ServiceKey, 0, len(e.services))
	for k := range e.services {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, ipvs.ServiceKey.Compare)
	return keys
}

// Pause takes no new connections and datagrams until Resume. What comes in
// meanwhile waits in the kernel, for whichever process has the sockets and goes
// on. Connections that are open, and answers to datagrams, are not disturbed.
func (e *Engine) Pause() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paused = true
	e.all(func(l *loop) {
		l.held = true
		for _, ln := range l.listeners {
			if ln != nil {
				l.hush(ln)
			}
		}
	})
}

// Resume undoes Pause.
func (e *Engine) Resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paused = false
	e.all(func(l *loop) {
		l.held = false
		l.resume()
	})
	if e.closed {
		return
	}
	for _, k := range e.keys() {
		svc := e.services[k]
		for p, have := range svc.sockets {
			if fds, err := openListeners(endpoint{k, p}, have, len(e.loops)-len(have)); err != nil {
				e.log.Warn("not every loop listens", "service", k, "err", err)
			} else {
				e.serve(svc, p, fds)
			}
		}
	}
	_ = e.divert(nil)
}

// Disinherit closes the inherited sockets that no service has asked for, and
// tells whose they were. Clients that wait there are reset.
func (e *Engine) Disinherit() (of []ipvs.ServiceKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for at, fds := range e.inherited {
		if !slices.Contains(of, at.ServiceKey) {
			of = append(of, at.ServiceKey)
		}
		closeAll(fds)
		delete(e.inherited, at)
	}
	return of
}

// ListensTo tells which service a listening socket is for; ok is false when it
// is none that a service could have.
func ListensTo(f *os.File) (k ipvs.ServiceKey, ok bool) {
	c, err := f.SyscallConn()
	if err != nil {
		return k, false
	}
	_ = c.Control(func(fd uintptr) {
		var at endpoint
		at, ok = new(identifier).listensTo(int32(fd))
		k = at.ServiceKey
	})
	return k, ok
}

// Drain stops listening and waits until all connections have ended. When ctx
// ends first its error is returned, and those that are left go on until Close.
// The kernel resets what waits to be accepted, unless another process has the
// sockets, too: see Listeners.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	for _, svc := range e.services {
		e.setListening(e.listening - svc.listening())
		svc.sockets = map[ipvs.Protocol][]int32{}
		e.all(func(l *loop) { l.unserve(svc) })
	}
	e.mu.Unlock()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for e.conns.Load() > 0 {
		select {
		case <-ctx.Done():
			return &OpError{Op: "drain", Err: ctx.Err()}
		case <-t.C:
		}
	}
	return nil
}

// Conns is how many connections and UDP sessions there are now.
func (e *Engine) Conns() int { return int(e.conns.Load()) }

// inherit tells what each socket listens to; what is none of ours is closed.
func inherit(files []*os.File) map[endpoint][]int32 {
	m := map[endpoint][]int32{}
	var who identifier
	for _, f := range files {
		fd, err := duplicate(f)
		f.Close()
		if err != nil {
			continue
		}
		if at, ok := who.listensTo(int32(fd)); ok {
			_ = unix.SetNonblock(fd, true)
			m[at] = append(m[at], int32(fd))
		} else {
			unix.Close(fd)
		}
	}
	return m
}

// duplicate does not ask File.Fd, which would make the socket blocking for the
// other process, too.
func duplicate(f *os.File) (fd int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if e := c.Control(func(have uintptr) { fd, err = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, e
	}
	return fd, err
}

// endpoint is what a listening socket is for.
type endpoint struct {
	ipvs.ServiceKey
	protocol ipvs.Protocol
}

// identifier tells what listening sockets are for: by their address, and where
// packets are diverted to them by the rules that do so.
type identifier struct {
	read    bool
	diverts []tproxy.Divert
}

func (i *identifier) listensTo(fd int32) (at endpoint, ok bool) {
	addr := socketAddr(fd)
	proto, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || !addr.IsValid() {
		return at, false
	}
	p := ipvs.Protocol(proto)
	if p == ipvs.TCP {
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
			return at, false
		}
	}
	if !isTransparent(fd, addr.Addr()) {
		return endpoint{ipvs.AddrService(p, addr), p}, true
	}
	if !i.read {
		i.diverts, _ = tproxy.Read() // without them it is nobody's: nothing reaches it
		i.read = true
	}
	for _, d := range i.diverts {
		if d.Protocol == p && d.Port == addr.Port() && addr.Addr() == loopback(familyOf(d.Key.AF())) {
			return endpoint{d.Key, p}, true
		}
	}
	return at, false
}

func isTransparent(fd int32, a netip.Addr) bool {
	level, option := unix.IPPROTO_IP, unix.IP_TRANSPARENT
	if a.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT
	}
	on, err := unix.GetsockoptInt(int(fd), level, option)
	return err == nil && on != 0
}
