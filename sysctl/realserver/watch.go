package realserver

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/sysctl"
)

// Times of Watch.
const (
	relook = 10 * time.Second // look without an event, in case one was missed
	calm   = 10               // changes within fight after which Watch pauses
	fight  = 10 * time.Second
)

// Watch keeps the VIPs of the record as they were added: when an address, a
// device or a knob is changed by somebody else, it is put right at once, and
// report hears of it. The kernel tells of addresses and devices by netlink, of
// writes to knobs by inotify.
//
// It returns nil when ctx ends, leaving all as it is, and when none of the given
// VIPs is in the record any more. ready is called once it is at work.
func (h Host) Watch(ctx context.Context, ready func(), report func(Report, error), vips ...netip.Addr) error {
	return h.Netns.Do(func() error {
		w, err := newWatcher(ctx)
		if err != nil {
			return err
		}
		defer w.close()
		w.Host = Host{Netns: h.knobs(), Dir: h.Dir, step: h.step, relook: h.relook}
		return w.run(ctx, ready, report, vips)
	})
}

type watcher struct {
	Host
	netlink, stop int // netlink events; readable when ctx ended
	inotify       int
	watched       map[sysctl.Knob]watched
	unhook        func() bool   // false when the hook runs or has run
	hooked        chan struct{} // closed when it has
}

// watched is a knob: its inotify watch, and the open file that has the kernel keep
// the inode that is watched.
type watched struct {
	file *os.File
	wd   int
}

func newWatcher(ctx context.Context) (w *watcher, err error) {
	w = &watcher{netlink: -1, stop: -1, inotify: -1, watched: map[sysctl.Knob]watched{}, unhook: func() bool { return true }, hooked: make(chan struct{})}
	if w.netlink, err = events(); err == nil {
		w.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err == nil {
		w.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	}
	if err != nil {
		w.close()
		return nil, &OpError{"watch", "", err}
	}
	one := binary.NativeEndian.AppendUint64(nil, 1)
	w.unhook = context.AfterFunc(ctx, func() {
		_, _ = unix.Write(w.stop, one)
		close(w.hooked)
	})
	return w, nil
}

// events is a socket that is readable when addresses or interfaces changed.
func events() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
		1<<(unix.RTNLGRP_IPV4_NETCONF-1) | 1<<(unix.RTNLGRP_IPV6_NETCONF-1))
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func (w *watcher) close() {
	if !w.unhook() {
		<-w.hooked
	}
	w.forget()
	for _, fd := range []int{w.netlink, w.stop, w.inotify} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (w *watcher) forget() {
	for k, x := range w.watched {
		_, _ = unix.InotifyRmWatch(w.inotify, uint32(x.wd)) // gone already where the interface is
		x.file.Close()
		delete(w.watched, k)
	}
}

func (w *watcher) run(ctx context.Context, ready func(), report func(Report, error), vips []netip.Addr) error {
	var changes []time.Time
	for ctx.Err() == nil {
		r, left, err := w.look(vips)
		if err != nil || r.Changed() {
			report(r, err)
		}
		if err == nil && !left {
			return nil
		}
		if ready != nil {
			ready()
			ready = nil
		}
		changes = slices.DeleteFunc(changes, func(t time.Time) bool { return time.Since(t) > fight })
		if r.Changed() {
			changes = append(changes, time.Now())
		}
		if err := w.wait(len(changes) >= calm); err != nil {
			return err
		}
	}
	return nil
}

// look settles once. left is false when none of the VIPs is to be kept.
func (w *watcher) look(vips []netip.Addr) (r Report, left bool, err error) {
	err = w.with(func(s *state, save saver) error {
		left = slices.ContainsFunc(s.staying(), func(v VIP) bool { return slices.Contains(vips, v.Addr) })
		if !left {
			return nil
		}
		if err := w.watch(s); err != nil { // first: what changes from now on is seen
			return err
		}
		var err error
		r.Actions, err = w.settle(s, save)
		return err
	})
	return r, left, err
}

// watch watches the knobs that VIPs need, and those that could overrule them.
func (w *watcher) watch(s *state) error {
	v, err := look(w.knobs(), s)
	if err != nil {
		return err
	}
	wants, err := v.wants(s.staying())
	if err != nil {
		return err
	}
	var knobs []sysctl.Knob
	for _, x := range wants {
		knobs = append(knobs, x.knob)
	}
	for _, dev := range v.wires() {
		knobs = append(knobs, sysctl.Conf4(dev, "arp_ignore"), sysctl.Conf4(dev, "arp_announce"))
	}
	for _, dev := range append(receivers(s.staying(), 4), "all") {
		knobs = append(knobs, sysctl.Conf4(dev, "rp_filter"))
	}
	for _, k := range knobs {
		w.add(k)
	}
	return nil
}

// add watches a knob. One that cannot be watched is looked at from time to time.
func (w *watcher) add(k sysctl.Knob) {
	if _, has := w.watched[k]; has {
		return
	}
	f, err := os.Open(w.Netns.File(k))
	if err != nil {
		return
	}
	wd, err := unix.InotifyAddWatch(w.inotify, f.Name(), unix.IN_MODIFY)
	if err != nil {
		f.Close()
		return
	}
	w.watched[k] = watched{f, wd}
}

// wait waits for an event or the time to look again; a fight with another
// program is not fought faster than that.
func (w *watcher) wait(pause bool) error {
	limit := w.relook
	if limit == 0 {
		limit = relook
	}
	fds := []unix.PollFd{{Fd: int32(w.stop), Events: unix.POLLIN}, {Fd: int32(w.netlink), Events: unix.POLLIN}, {Fd: int32(w.inotify), Events: unix.POLLIN}}
	if pause {
		fds, limit = fds[:1], fight
	}
	_, err := unix.Poll(fds, int(limit/time.Millisecond))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return &OpError{"watch", "", err}
	}
	if drain(w.netlink) { // an interface may have come back, with new files
		w.forget()
	}
	drain(w.inotify)
	return nil
}

// drain reads all there is; that events were lost is an event like others.
func drain(fd int) (some bool) {
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == nil && n > 0, errors.Is(err, unix.ENOBUFS):
			some = true
		case errors.Is(err, unix.EINTR):
		default:
			return some
		}
	}
}
