package realserver

import (
	"errors"
	"io/fs"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/dump"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// view is the host as it would be without us: knobs that have our value count
// with the one they had before. What VIPs need is judged by it, so that the
// second VIP needs what the first one has already set.
type view struct {
	host  sysctl.Netns
	state *state
	links []netlink.Link
}

func look(host sysctl.Netns, s *state) (*view, error) {
	links, err := dump.Whole(netlink.LinkList)
	if err != nil {
		return nil, &OpError{"list interfaces", "", err}
	}
	return &view{host, s, links}, nil
}

// now is the value of a knob; that of an interface that does not exist yet is
// what it will start with.
func (w *view) now(k sysctl.Knob) (string, error) {
	v, err := w.host.Get(k)
	if errors.Is(err, fs.ErrNotExist) {
		if _, _, name, ok := k.Conf(); ok {
			if start, err := w.host.Get(sysctl.Conf4("default", name)); err == nil {
				return start, nil
			}
		}
	}
	return v, err
}

// found is the value without us.
func (w *view) found(k sysctl.Knob) (int, error) {
	v, err := w.now(k)
	if err != nil {
		return 0, err
	}
	if h := w.state.knob(k); h != nil && h.ours(v) {
		v = h.Found
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, &OpError{"read", k.String(), err}
	}
	return n, nil
}

func (w *view) link(name string) netlink.Link {
	for _, l := range w.links {
		if l.Attrs().Name == name {
			return l
		}
	}
	return nil
}

// wires are the interfaces whose neighbours ask by ARP, up or not.
func (w *view) wires() (names []string) {
	for _, l := range w.links {
		if vip.Asked(l) {
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}

// takesIPv4 is false for ip6tnl0 as the module makes it: for IPv6 in IPv6 only
// (ip6_fb_tnl_dev_init() in net/ipv6/ip6_tunnel.c).
func (w *view) takesIPv4(dev string) bool {
	tunnel, ok := w.link(dev).(*netlink.Ip6tnl)
	return ok && (tunnel.Proto == 0 || tunnel.Proto == unix.IPPROTO_IPIP)
}
