package realserver

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// Action is one thing done to the host, or to be done.
type Action struct {
	Do     string `json:"do"`     // set, load, up, open, add, delete, restore, down, close, keep
	Object string `json:"object"` // a knob, a device, a port, an address
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Why    string `json:"why,omitempty"`

	run func() error
}

func (a Action) String() string {
	s := a.Do + " " + a.Object
	switch a.Do {
	case "set", "restore":
		s += "=" + a.To + " (was " + a.From + ")"
	case "add":
		s += " to " + a.To
	case "delete":
		s += " from " + a.From
	case "keep":
		s += " " + a.To
	}
	if a.Why != "" && a.Do != "set" {
		s += ": " + a.Why
	}
	return s
}

// plan is the difference between the host and what the record wants, in the
// order in which it is settled. The record is changed to what it must be before
// the first action (before), and what it is after the last (after).
type plan struct {
	*view
	make, undo    []Action
	before, after *state
}

func newPlan(host sysctl.Netns, s *state) (*plan, error) {
	w, err := look(host, s)
	if err != nil {
		return nil, err
	}
	p := &plan{view: w, before: s.clone(), after: s.clone()}
	p.after.VIPs = s.staying()
	wants, err := w.wants(s.staying())
	if err != nil {
		return nil, err
	}
	silence := func(w want) bool { return w.knob.Name() != "rp_filter" }
	for _, step := range []func() error{
		func() error { return p.set(wants, silence) },
		p.devices,
		func() error { return p.set(wants, func(w want) bool { return !silence(w) }) },
		p.ports,
		p.addresses,
		func() error { return p.restore(wants) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *plan) actions() []Action { return slices.Concat(p.make, p.undo) }

// set plans the knobs that do not have a good value.
func (p *plan) set(wants []want, which func(want) bool) error {
	for _, w := range wants {
		if !which(w) {
			continue
		}
		now, err := p.now(w.knob)
		if err != nil {
			return err
		}
		if w.ok(now) {
			if h := p.before.knob(w.knob); h != nil && !h.ours(now) { // somebody's own good value: theirs from now on
				p.before.release(w.knob)
				p.after.release(w.knob)
			}
			continue
		}
		p.before.hold(w.knob, now, w.value)
		p.after.hold(w.knob, now, w.value)
		p.after.knob(w.knob).Prev = ""
		p.make = append(p.make, Action{Do: "set", Object: w.knob.String(), From: now, To: w.value, Why: w.why, run: func() error {
			_, err := p.host.Set(w.knob, w.value)
			return err
		}})
	}
	return nil
}

// restore plans the knobs that nobody wants any more, the last one first.
func (p *plan) restore(wants []want) error {
	for _, h := range slices.Backward(p.before.Knobs) {
		if slices.ContainsFunc(wants, func(w want) bool { return w.knob == h.Knob }) {
			continue
		}
		p.after.release(h.Knob)
		now, err := p.host.Get(h.Knob)
		switch {
		case errors.Is(err, fs.ErrNotExist): // the interface is gone
		case err != nil:
			return err
		case h.ours(now) && now != h.Found:
			p.undo = append(p.undo, Action{Do: "restore", Object: h.Knob.String(), From: now, To: h.Found, run: func() error {
				return p.host.Undo(sysctl.Change{Knob: h.Knob, Old: h.Found, New: now})
			}})
		case now != h.Found:
			p.undo = append(p.undo, Action{Do: "keep", Object: h.Knob.String(), To: "at " + now, Why: "somebody changed it since it was set to " + h.Set})
		}
	}
	return nil
}

// devices plans what must be up, and what need not be any more.
func (p *plan) devices() error {
	needed := receivers(p.before.staying(), 0)
	for _, v := range p.before.staying() {
		if !slices.Contains(needed, v.Dev) {
			needed = append(needed, v.Dev)
		}
	}
	for _, dev := range needed {
		link := p.link(dev)
		if link != nil && link.Attrs().RawFlags&unix.IFF_UP != 0 {
			continue
		}
		if link == nil {
			p.make = append(p.make, Action{Do: "load", Object: modules[dev], Why: "for " + dev, run: func() error { return load(dev) }})
		}
		p.make = append(p.make, Action{Do: "up", Object: dev, run: func() error { return up(dev, true) }})
		if !slices.Contains(p.before.Devices, dev) {
			p.before.Devices, p.after.Devices = append(p.before.Devices, dev), append(p.after.Devices, dev)
		}
	}
	for _, dev := range p.before.Devices {
		if slices.Contains(needed, dev) {
			continue
		}
		p.after.Devices = slices.DeleteFunc(p.after.Devices, func(d string) bool { return d == dev })
		if err := p.down(dev); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) down(dev string) error {
	link := p.link(dev)
	if link == nil || link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return nil
	}
	rest, err := p.view.addresses(dev, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		p.undo = append(p.undo, Action{Do: "keep", Object: dev, To: "up", Why: "somebody gave it " + rest[0].IPNet.String()})
		return nil
	}
	p.undo = append(p.undo, Action{Do: "down", Object: dev, run: func() error { return up(dev, false) }})
	return nil
}

func (p *plan) ports() error {
	var needed []port
	for _, v := range p.before.staying() {
		if q := (port{v.Outer, v.Tunnel.Port}); v.Tunnel.Kind == "gue" && !slices.Contains(needed, q) {
			needed = append(needed, q)
		}
	}
	if len(needed)+len(p.before.Ports) == 0 {
		return nil
	}
	open, err := openPorts()
	if err != nil {
		return err
	}
	for _, q := range needed {
		if slices.Contains(open, q) {
			continue
		}
		p.make = append(p.make, Action{Do: "open", Object: q.String(), run: q.open})
		if !slices.Contains(p.before.Ports, q) {
			p.before.Ports, p.after.Ports = append(p.before.Ports, q), append(p.after.Ports, q)
		}
	}
	for _, q := range p.before.Ports {
		if slices.Contains(needed, q) {
			continue
		}
		p.after.Ports = slices.DeleteFunc(p.after.Ports, func(o port) bool { return o == q })
		if slices.Contains(open, q) {
			p.undo = append(p.undo, Action{Do: "close", Object: q.String(), run: q.close})
		}
	}
	return nil
}

// addresses plans the VIPs that come, and then those that go. They are part of
// what is made: they come after the knobs that are set, and go before those that
// are restored.
func (p *plan) addresses() error {
	var gone []Action
	for i, v := range p.before.VIPs {
		has, err := present(v)
		if err != nil {
			return err
		}
		switch {
		case v.Leaving && has && !v.Found:
			gone = append(gone, Action{Do: "delete", Object: v.host(), From: v.Dev, run: func() error {
				_, err := vip.Delete(v.Addr, v.Dev)
				return err
			}})
		case v.Leaving && has:
			p.undo = append(p.undo, Action{Do: "keep", Object: v.host(), To: "on " + v.Dev, Why: "it was there before"})
		case !v.Leaving && !has:
			p.before.VIPs[i].Found = false
			p.after.vip(v.Addr).Found = false
			p.make = append(p.make, Action{Do: "add", Object: v.host(), To: v.Dev, run: func() error {
				_, err := vip.Add(v.Addr, v.Dev)
				return err
			}})
		}
	}
	p.make = append(p.make, gone...)
	return nil
}

func present(v VIP) (bool, error) {
	places, err := vip.Find(v.Addr)
	return slices.ContainsFunc(places, func(p vip.Place) bool { return p.Dev == v.Dev && p.Prefix.IsSingleIP() }), err
}
