package main

import (
	"net/netip"
	"os"

	"github.com/goipvs/goipvs/director/control"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// chaosFamily are the processes of goipvsd that there have been on the director, one
// after the other. pid is the one that serves; 0: there is none.
type chaosFamily struct {
	*house
	c   *chaos
	pid int
}

func newChaosFamily(c *chaos) *chaosFamily {
	f := &chaosFamily{house: &house{TB: c.T, dir: c.dir, ended: make(map[int]chan struct{})}, c: c}
	log, err := os.OpenFile(f.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	f.must(err)
	f.log = log
	c.Cleanup(func() {
		f.killAll()
		if c.Failed() {
			c.Logf("log of goipvsd:\n%s", f.said())
		}
		log.Close()
	})
	return f
}

// start runs goipvsd until it answers.
func (f *chaosFamily) start() {
	f.Helper()
	cmd := f.c.command()
	cmd.Stderr = f.log
	f.must(f.c.net.Director.Do(cmd.Start))
	f.pid = cmd.Process.Pid
	f.watch(f.pid)
	f.await("goipvsd answers", func() bool {
		if !f.running(f.pid) {
			f.Fatalf("goipvsd does not start:\n%s", f.said())
		}
		st, err := f.c.rig.status()
		return err == nil && st.PID == f.pid
	})
}

// ends has it end by a signal.
func (f *chaosFamily) end(signal unix.Signal) {
	f.Helper()
	f.must(unix.Kill(f.pid, signal))
	f.ends(f.pid)
	f.pid = 0
}

// quit has it end with what its goroutines do in its log.
func (f *chaosFamily) quit() {
	f.Helper()
	if f.pid != 0 {
		f.end(unix.SIGQUIT)
	}
}

// signal tells it something.
func (f *chaosFamily) signal(s unix.Signal) {
	f.Helper()
	f.must(unix.Kill(f.pid, s))
}

// upgrade has the next process take over.
func (f *chaosFamily) upgrade() error {
	var u control.Upgraded
	if err := f.c.request("upgrade", &u); err != nil {
		return err
	}
	f.watch(u.PID)
	f.pid = u.PID
	return nil
}

// alone waits until the processes before have let go of their connections.
func (f *chaosFamily) alone() {
	f.Helper()
	f.await("the processes from before the upgrades end", func() bool {
		f.reap(f.pid)
		kids := f.children()
		return len(kids) == 1 && kids[0] == f.pid
	})
}

// chaosLink is an interface of a host.
type chaosLink struct {
	netlink.Link
	*netlink.Handle
}

// onLink is at an interface of the director, or of another host.
func (c *chaos) onEth0(do func(chaosLink) error) error {
	return c.net.Director.Do(func() error { return onLink("eth0", do) })
}

func onLink(name string, do func(chaosLink) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	return do(chaosLink{link, h})
}

func (l chaosLink) has(a netip.Addr) (bool, error) {
	all, err := l.AddrList(l.Link, netlink.FAMILY_V4)
	for _, x := range all {
		if x.IP.Equal(a.AsSlice()) {
			return true, err
		}
	}
	return false, err
}

// remove takes an address of 32 bits away; one that is not there is as good.
func (l chaosLink) remove(a netip.Addr) {
	addr, err := netlink.ParseAddr(a.String() + "/32")
	if err == nil {
		_ = l.AddrDel(l.Link, addr)
	}
}

// plug has a real server's cable be in or out.
func (c *chaos) plug(host int, in bool) {
	c.Helper()
	set := (*netlink.Handle).LinkSetDown
	if in {
		set = (*netlink.Handle).LinkSetUp
	}
	c.must(c.net.Switch.Do(func() error {
		return onLink(c.net.Servers[host-1].Name, func(l chaosLink) error { return set(l.Handle, l.Link) })
	}))
	c.unplug[host] = !in
}
