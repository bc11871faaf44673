package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/record"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// Host is a host that is, or becomes, a real server. The zero value is this one,
// in the calling thread's network namespace. Several, also of several programs,
// may be at work at once: they wait for each other.
type Host struct {
	Netns  sysctl.Netns
	Dir    string // of the record; empty is record.Dir
	DryRun bool   // tell what would be done, do nothing

	step   func(Action)  // tests see each action before it is done
	relook time.Duration // of Watch, where a test waits for events only
}

// Report is what was done, or would be.
type Report struct {
	Actions []Action `json:"actions"`
	Advice  []string `json:"advice,omitempty"`
}

// Changed is true when something was done, or would be.
func (r Report) Changed() bool {
	for _, a := range r.Actions {
		if a.Do != "keep" {
			return true
		}
	}
	return false
}

const recordName = "realserver"

// Add makes the host take packets for the VIPs without answering ARP or
// neighbour discovery for them. It is all or nothing: after an error what it did
// is undone. VIPs that are there as wanted are no error.
func (h Host) Add(spec Spec, vips ...netip.Addr) (r Report, err error) {
	err = h.with(func(s *state, save saver) error {
		added, err := h.enter(s, spec, vips)
		if err != nil {
			return err
		}
		actions, err := h.settle(s, save)
		if err != nil {
			return errors.Join(err, h.leave(s, save, added))
		}
		r.Actions = actions
		r.Advice = advice(s.staying(), vips)
		return nil
	})
	return r, err
}

// Delete takes VIPs away and puts back what no other VIP needs. One that is
// neither in the record nor on the host is no error.
func (h Host) Delete(vips ...netip.Addr) (r Report, err error) {
	err = h.with(func(s *state, save saver) error {
		for _, a := range vips {
			if err := leaving(s, a); err != nil {
				return err
			}
		}
		r.Actions, err = h.settle(s, save)
		return err
	})
	return r, err
}

// leaving marks a VIP.
func leaving(s *state, a netip.Addr) error {
	if v := s.vip(a); v != nil {
		v.Leaving = true
		return nil
	}
	places, err := vip.Find(a)
	if err != nil || len(places) == 0 {
		return err
	}
	p := places[0]
	return hinted{&OpError{"delete", p.Prefix.String() + " from " + p.Dev, ErrNotOurs}, "ip address del " + p.Prefix.String() + " dev " + p.Dev}
}

// saver writes the record.
type saver func(*state) error

// with runs f on the record of the host's namespace.
func (h Host) with(f func(*state, saver) error) error {
	return h.Netns.Do(func() error {
		s := &state{}
		if h.DryRun {
			if err := record.Peek(h.Dir, recordName, s); err != nil {
				return err
			}
			if err := s.check(); err != nil {
				return err
			}
			return f(s, func(*state) error { return nil })
		}
		file, err := record.Open(h.Dir, recordName, s)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := s.check(); err != nil {
			return err
		}
		saved := s.clone()
		return f(s, func(s *state) (err error) {
			switch {
			case reflect.DeepEqual(s, saved):
				return nil
			case s.empty():
				err = file.Save(nil)
			default:
				err = file.Save(s)
			}
			saved = s.clone()
			return err
		})
	})
}

// knobs is the host's Netns once inside of it.
func (h Host) knobs() sysctl.Netns { return sysctl.Netns{Root: h.Netns.Root} }

// settle makes the host what the record says, and the record what the host is.
func (h Host) settle(s *state, save saver) ([]Action, error) {
	p, err := newPlan(h.knobs(), s)
	if err != nil || h.DryRun {
		if err == nil {
			*s = *p.after
			return p.actions(), nil
		}
		return nil, err
	}
	*s = *p.before
	if err := save(s); err != nil {
		return nil, err
	}
	for i, a := range p.actions() {
		if h.step != nil {
			h.step(a)
		}
		if a.run == nil {
			continue
		}
		if err := a.run(); err != nil {
			return p.actions()[:i], err
		}
	}
	*s = *p.after
	return p.actions(), save(s)
}

// enter puts VIPs into the record, after making sure that they can be served.
func (h Host) enter(s *state, spec Spec, vips []netip.Addr) (added []netip.Addr, err error) {
	for _, a := range vips {
		v, err := spec.vip(a)
		if err != nil {
			return nil, &OpError{"add", a.String(), err}
		}
		if old := s.vip(a); old != nil {
			if !old.as(v) {
				return nil, differs(*old)
			}
			old.Leaving = false // a deletion that did not come to its end
			continue
		}
		if v.Found, err = h.admit(v); err != nil {
			return nil, err
		}
		s.VIPs = append(s.VIPs, v)
		added = append(added, a)
	}
	return added, nil
}

func differs(old VIP) error {
	how := fmt.Sprintf("--mode %s --dev %s", old.Mode, old.Dev)
	if old.Mode == TUN {
		how += fmt.Sprintf(" --tunnel %s --outer %d", old.Tunnel, old.Outer)
	}
	return hinted{&OpError{"add", old.Addr.String(), fmt.Errorf("%w (%s)", ErrDiffers, how)}, "goipvs realserver del " + old.Addr.String() + ", then add it anew"}
}

// admit tells whether the address is there already, or why it cannot be served.
func (h Host) admit(v VIP) (found bool, err error) {
	w, err := look(h.knobs(), &state{})
	if err != nil {
		return false, err
	}
	fail := func(err error, hint string) (bool, error) {
		return false, hinted{&OpError{"add", v.host() + " to " + v.Dev, err}, hint}
	}
	if link := w.link(v.Dev); link == nil && v.Dev != v.receiver() {
		return fail(errNoDevice, "ip link shows the interfaces; without --dev the address goes to lo, or to the tunnel device")
	} else if link != nil && vip.Asked(link) {
		return fail(ErrOnWire, "this host would answer for "+v.Addr.String()+" beside the director; use lo, a dummy or a tunnel device")
	}
	if v.receiver() == "ip6tnl0" && v.Addr.Is4() && !w.takesIPv4("ip6tnl0") {
		return fail(errVersion, "modprobe ip6_tunnel && ip -6 tunnel change ip6tnl0 mode any, then add it again")
	}
	places, err := vip.Find(v.Addr)
	if err != nil {
		return false, err
	}
	for _, p := range places {
		remove := "ip address del " + p.Prefix.String() + " dev " + p.Dev
		switch {
		case p.Asked:
			return fail(fmt.Errorf("%s has it: %w", p.Dev, ErrOnWire), "a real server must have it on lo or a tunnel device only; if this is not the director: "+remove)
		case p.Dev != v.Dev:
			return fail(fmt.Errorf("%s has it: %w", p.Dev, ErrElsewhere), "use --dev "+p.Dev+", or "+remove)
		case !p.Prefix.IsSingleIP():
			return fail(fmt.Errorf("as %s: %w", p.Prefix, ErrElsewhere), "all of that network would be this host: "+remove)
		}
	}
	if off, err := h.knobs().Get(sysctl.Conf6(v.Dev, "disable_ipv6")); v.Addr.Is6() && err == nil && off != "0" {
		return fail(errIPv6Off, "sysctl -w "+sysctl.Conf6(v.Dev, "disable_ipv6").String()+"=0")
	}
	return len(places) > 0, nil
}

// leave is the way back of an Add that failed.
func (h Host) leave(s *state, save saver, added []netip.Addr) error {
	if h.DryRun {
		return nil
	}
	for _, a := range added {
		if v := s.vip(a); v != nil {
			v.Leaving = true
		}
	}
	_, err := h.settle(s, save)
	return err
}
