package realserver

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/internal/dump"
	"github.com/goipvs/goipvs/sysctl"
)

// Status is what a host is as a real server.
type Status struct {
	VIPs      []VIPStatus `json:"vips"`
	Knobs     []Knob      `json:"knobs"`     // that the VIPs need
	Effective []Effective `json:"effective"` // what the kernel goes by, for each interface that matters
	Drift     []Action    `json:"drift"`     // what would be done to make it as wanted again
	// Others are host addresses on lo that are not in the record.
	Others []netip.Addr `json:"others,omitempty"`
}

// VIPStatus is a VIP of the record and whether its device has it.
type VIPStatus struct {
	VIP
	Present bool `json:"present"`
}

// Knob is a knob that VIPs need.
type Knob struct {
	Knob   sysctl.Knob `json:"knob"`
	Wanted string      `json:"wanted"` // what it is set to if it has no good value
	Now    string      `json:"now"`
	Good   bool        `json:"good"`
	Found  string      `json:"found,omitempty"` // what it will be restored to; empty where it is not ours
	Why    string      `json:"why"`
}

// Effective is the value the kernel goes by for an interface.
type Effective struct {
	Dev   string `json:"dev"`
	Name  string `json:"name"` // arp_ignore, arp_announce, rp_filter
	Value int    `json:"value"`
	Good  bool   `json:"good"`
}

// Show tells what the record and the host say. It changes nothing.
func (h Host) Show() (st Status, err error) {
	h.DryRun = true
	err = h.with(func(s *state, _ saver) error { st, err = h.status(s); return err })
	return st, err
}

func (h Host) status(s *state) (st Status, err error) {
	p, err := newPlan(h.knobs(), s)
	if err != nil {
		return st, err
	}
	st.Drift = p.actions()
	for _, v := range s.VIPs {
		has, err := present(v)
		if err != nil {
			return st, err
		}
		st.VIPs = append(st.VIPs, VIPStatus{v, has})
	}
	if st.Knobs, err = p.wanted(); err != nil {
		return st, err
	}
	if st.Effective, err = p.effective(s.staying()); err != nil {
		return st, err
	}
	st.Others, err = strangers(s)
	return st, err
}

func (w *view) wanted() (all []Knob, err error) {
	wants, err := w.wants(w.state.staying())
	for _, x := range wants {
		now, err := w.now(x.knob)
		if err != nil {
			return nil, err
		}
		k := Knob{Knob: x.knob, Wanted: x.value, Now: now, Good: x.ok(now), Why: x.why}
		if h := w.state.knob(x.knob); h != nil && h.ours(now) {
			k.Found = h.Found
		}
		all = append(all, k)
	}
	return all, err
}

// effective judges what the kernel goes by, whoever set it.
func (w *view) effective(vips []VIP) (all []Effective, err error) {
	add := func(dev, name string, good func(int) bool) {
		v, e := w.host.Effective(sysctl.Conf4(dev, name))
		if e != nil {
			if w.link(dev) != nil && err == nil {
				err = e
			}
			return
		}
		all = append(all, Effective{dev, name, v, good(v)})
	}
	if !slices.ContainsFunc(vips, func(v VIP) bool { return v.Addr.Is4() }) {
		return nil, nil
	}
	for _, dev := range w.wires() {
		add(dev, "arp_ignore", silent)
		add(dev, "arp_announce", discreet)
	}
	for _, dev := range receivers(vips, 4) {
		has, e := w.hasAddress(dev, vips)
		if e != nil {
			return nil, e
		}
		add(dev, "rp_filter", func(n int) bool { return n == 0 || has && n != 1 })
	}
	return all, err
}

// strangers are host addresses on lo that somebody else put there.
func strangers(s *state) (all []netip.Addr, err error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, &OpError{"find", "lo", err}
	}
	list, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(lo, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, &OpError{"list addresses of", "lo", err}
	}
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		ones, bits := a.Mask.Size()
		if ip = ip.Unmap(); ok && ones == bits && !ip.IsLoopback() && s.vip(ip) == nil {
			all = append(all, ip)
		}
	}
	return all, nil
}

func (k Knob) String() string {
	s := k.Knob.String() + " is " + k.Now
	if !k.Good {
		s += ", wanted " + k.Wanted
	}
	if k.Found != "" {
		s += " (was " + k.Found + ")"
	}
	return s
}

func (e Effective) String() string { return e.Dev + " " + e.Name + " " + strconv.Itoa(e.Value) }
