package fullnat

import (
	"context"
	"os"
	"slices"
	"time"

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
		for _, fd := range e.services[k].fds {
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
				l.listen(ln, false)
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
	for _, k := range e.keys() {
		if svc := e.services[k]; len(svc.fds) < len(e.loops) && !e.closed {
			if fds, err := e.openListeners(k, len(e.loops)-len(svc.fds)); err != nil {
				e.log.Warn("not every loop listens", "service", k, "err", err)
			} else {
				e.serve(svc, fds)
			}
		}
	}
}

// Disinherit closes the inherited sockets that no service has asked for, and
// tells whose they were. Clients that wait there are reset.
func (e *Engine) Disinherit() (of []ipvs.ServiceKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, fds := range e.inherited {
		of = append(of, k)
		for _, fd := range fds {
			unix.Close(int(fd))
		}
		delete(e.inherited, k)
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
	_ = c.Control(func(fd uintptr) { k, ok = listensTo(int32(fd)) })
	return k, ok
}

// Drain stops listening and waits until all connections have ended. When ctx
// ends first its error is returned, and those that are left go on until Close.
// The kernel resets what waits to be accepted, unless another process has the
// sockets, too: see Listeners.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	for _, svc := range e.services {
		svc.fds = nil
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
func inherit(files []*os.File) map[ipvs.ServiceKey][]int32 {
	m := map[ipvs.ServiceKey][]int32{}
	for _, f := range files {
		fd, err := duplicate(f)
		f.Close()
		if err != nil {
			continue
		}
		if k, ok := listensTo(int32(fd)); ok {
			_ = unix.SetNonblock(fd, true)
			m[k] = append(m[k], int32(fd))
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

func listensTo(fd int32) (ipvs.ServiceKey, bool) {
	var a sockaddr
	proto, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || sysSockname(fd, &a) != noErr || !a.addrPort().IsValid() {
		return ipvs.ServiceKey{}, false
	}
	if proto == unix.IPPROTO_TCP {
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
			return ipvs.ServiceKey{}, false
		}
	}
	return ipvs.AddrService(ipvs.Protocol(proto), a.addrPort()), true
}
