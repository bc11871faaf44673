package vip

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/dump"
)

// Wire is an Ethernet interface that is up: where neighbours ask for addresses.
type Wire struct {
	Name  string
	Index int
	MAC   MAC
	// Port is true for a part of a bridge, bond or team, whose packets that
	// interface handles.
	Port bool
}

// Wires are all such interfaces of the host.
func Wires() ([]Wire, error) {
	links, err := dump.Whole(netlink.LinkList)
	if err != nil {
		return nil, &OpError{"list interfaces", "", err}
	}
	var all []Wire
	for _, l := range links {
		if w, ok := wire(l); ok {
			all = append(all, w)
		}
	}
	return all, nil
}

// OnWire finds one by its name.
func OnWire(dev string) (Wire, error) {
	link, err := find(dev)
	if err != nil {
		return Wire{}, &OpError{"find", dev, err}
	}
	w, ok := wire(link)
	if !ok {
		return Wire{}, &OpError{"use", dev, errors.New("not an Ethernet interface that is up")}
	}
	return w, nil
}

func wire(l netlink.Link) (w Wire, ok bool) {
	a := l.Attrs()
	if !Asked(l) || a.RawFlags&unix.IFF_UP == 0 || a.EncapType != "ether" || len(a.HardwareAddr) != 6 {
		return Wire{}, false
	}
	w = Wire{Name: a.Name, Index: a.Index, MAC: MAC(a.HardwareAddr)}
	if a.Slave != nil {
		switch a.Slave.SlaveType() {
		case "bridge", "bond", "team":
			w.Port = true
		}
	}
	return w, true
}

// Announce tells the neighbours on an interface that the address is here: a
// gratuitous ARP request and reply, as some listen to only one of them, or an
// unsolicited neighbour advertisement. router says in the latter that this host
// forwards packets. Neighbours may miss one: repeat it after some time.
func (w Wire) Announce(addr netip.Addr, router bool) error {
	frames := [][]byte{tell6(w.MAC, addr, router)}
	if addr.Is4() {
		frames = [][]byte{
			arp(1, broadcast, w.MAC, addr, MAC{}, addr),
			arp(2, broadcast, w.MAC, addr, broadcast, addr),
		}
	}
	for _, f := range frames {
		if err := send(w.Index, f); err != nil {
			return &OpError{"announce", addr.String() + " on " + w.Name, err}
		}
	}
	return nil
}

// Ask asks the neighbours who has the address, as somebody without one, which
// changes nobody's tables. A Listener hears the answers. IPv6 neighbours answer
// to sender, an address of the interface; the zero one stands for none.
func (w Wire) Ask(addr, sender netip.Addr) error {
	return w.ask(send, w.MAC, addr, sender)
}

// Provoke has this host's kernel receive, on this interface, the question who
// has the address, as if a neighbour had asked. What the kernel answers goes out
// to a made-up neighbour, and a Listener hears it. It needs Linux 5.18 and
// CAP_BPF besides CAP_NET_ADMIN; errors.Is(err, ErrCannotProvoke) without.
func (w Wire) Provoke(addr netip.Addr) error {
	from := MAC{2}
	_, _ = rand.Read(from[1:]) // never fails
	sender := netip.IPv4Unspecified()
	if addr.Is6() {
		sender = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 11: from[1], 12: from[2], 13: from[3], 14: from[4], 15: from[5]})
	}
	return w.ask(inject, from, addr, sender)
}

func (w Wire) ask(by func(int, []byte) error, from MAC, addr, sender netip.Addr) error {
	if !sender.IsValid() {
		sender = netip.IPv6Unspecified()
		if addr.Is4() {
			sender = netip.IPv4Unspecified()
		}
	}
	frame := ask6
	if addr.Is4() {
		frame = ask4
	}
	if err := by(w.Index, frame(from, sender, addr)); err != nil {
		return &OpError{"ask for", addr.String() + " on " + w.Name, err}
	}
	return nil
}

// ErrCannotProvoke: the kernel does not take packets from us as received.
var ErrCannotProvoke = errors.New("this kernel lets nobody stand in for a neighbour")

func cannot(err error) error { return fmt.Errorf("%w (%w)", ErrCannotProvoke, err) }
