package topo

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one machine of the network: a network namespace with an interface
// eth0. The router, or the director where it stands in for one, has an interface
// named after each client as well.
type Host struct {
	Name  string
	Addr4 netip.Addr // its own address: in the servers' segment, or the first of a client's prefix
	Addr6 netip.Addr // the same in IPv6; the zero Addr without
	MAC   MAC        // of eth0

	net   *Net
	ns    netns.NsHandle
	rt    *netlink.Handle // a routing socket inside
	named bool
}

// newHost makes a namespace with lo up. IPVS takes no destinations in a
// namespace whose lo is down.
func newHost(n *Net, name string, forwards bool) (*Host, error) {
	h := &Host{Name: name, net: n, named: n.spec.Named, ns: netns.None()}
	if err := h.open(forwards); err != nil {
		return nil, errors.Join(fmt.Errorf("make host %s: %w", name, err), h.close())
	}
	return h, nil
}

func (h *Host) open(forwards bool) (err error) {
	if err := h.unshare(); err != nil {
		return err
	}
	if h.rt, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open routing socket: %w", err)
	}
	if err := h.settle(forwards); err != nil {
		return err
	}
	return h.rt.LinkSetUp(lo)
}

func (h *Host) unshare() error {
	return excursion(func() (err error) {
		if h.named {
			h.ns, err = netns.NewNamed(h.Name)
		} else {
			h.ns, err = netns.New()
		}
		if err != nil {
			h.named = false // the name, if there is one, belongs to somebody else
			return fmt.Errorf("make network namespace: %w", err)
		}
		return nil
	})
}

func (h *Host) close() error {
	var errs []error
	if h.rt != nil {
		h.rt.Close()
		h.rt = nil
	}
	if h.ns.IsOpen() {
		errs = append(errs, h.ns.Close())
	}
	if h.named {
		errs = append(errs, netns.DeleteNamed(h.Name))
		h.named = false
	}
	return errors.Join(errs...)
}

// Do runs f on this host: what f opens, sockets and files under /proc alike,
// belongs to the host's namespace and may be used from anywhere later; programs
// that f starts run there. It holds for f's own goroutine only; goroutines that
// f starts run outside. Files of
// /proc/net must be read as /proc/thread-self/net, as /proc/net follows the
// process, not the thread. Calls nest.
func (h *Host) Do(f func() error) error {
	return excursion(func() error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("topo: enter %s: %w", h.Name, err)
		}
		return f()
	})
}

// excursion runs f, which may take its thread to another network namespace, and
// brings the thread back, also when f panics or ends the goroutine.
func excursion(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("topo: find own network namespace: %w", err)
	}
	defer func() {
		// A thread that cannot go home must not serve other goroutines:
		// it stays locked and dies with this one.
		if err := errors.Join(netns.Set(home), home.Close()); err != nil {
			panic(fmt.Sprintf("topo: leave network namespace: %v", err))
		}
		runtime.UnlockOSThread()
	}()
	return f()
}
