package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/record"
)

// Holder gives VIPs to a director and takes them back. It remembers which it
// gave (package sysctl/record), so that it takes no others. The zero value works
// on this host.
type Holder struct {
	Netns  sysctl.Netns
	Dir    string // of the record; empty is record.Dir
	DryRun bool   // tell what would be done, do nothing
	// Force adds a VIP even where a neighbour has it, as for a fail-over from a
	// director that is not quite dead.
	Force bool
	// Announcements is how often a VIP is announced; 0 is 3.
	Announcements int
}

var (
	// ErrTaken: a neighbour answers for the VIP.
	ErrTaken = errors.New("a neighbour has it")
	// ErrElsewhere: another interface of this host has it.
	ErrElsewhere = errors.New("this host has it")
	// ErrNotOurs: it was not added by a Holder.
	ErrNotOurs = errors.New("it was not added by goipvs")
)

const (
	recordName = "vip"
	probes     = 3
	pause      = 200 * time.Millisecond // between probes, and announcements
)

// held is a VIP of the record.
type held struct {
	Addr  netip.Addr `json:"addr"`
	Dev   string     `json:"dev"`
	Found bool       `json:"found,omitempty"` // it was there before
}

// Add gives an interface the VIPs and announces them; those that are there
// already are announced again. It is all or nothing.
func (h Holder) Add(dev string, vips ...netip.Addr) (changes []Change, err error) {
	err = h.with(func(all []held, save func([]held) error) error {
		fresh, err := h.admit(dev, vips)
		if err != nil {
			return err
		}
		all = enter(all, dev, vips, fresh)
		if err := save(all); err != nil {
			return err
		}
		for _, a := range vips {
			c := Change{Addr: a, Dev: dev, Added: slices.Contains(fresh, a)}
			if !h.DryRun {
				if c, err = Add(a, dev); err != nil {
					return errors.Join(err, undo(changes), save(without(all, changes)))
				}
			}
			changes = append(changes, c)
		}
		return h.announce(dev, vips)
	})
	return changes, err
}

// enter notes VIPs. One that is in the record but not on the host any more was
// deleted by somebody, and what is added now is ours.
func enter(all []held, dev string, vips, fresh []netip.Addr) []held {
	all = slices.Clone(all)
	for _, a := range vips {
		x := held{a, dev, !slices.Contains(fresh, a)}
		switch i := slices.IndexFunc(all, x.same); {
		case i < 0:
			all = append(all, x)
		case !x.Found:
			all[i] = x
		}
	}
	return all
}

func undo(changes []Change) error {
	var errs []error
	for _, c := range slices.Backward(changes) {
		errs = append(errs, Undo(c))
	}
	return errors.Join(errs...)
}

func without(all []held, changes []Change) []held {
	return slices.DeleteFunc(slices.Clone(all), func(x held) bool {
		return slices.ContainsFunc(changes, func(c Change) bool { return c.Added && c.Addr == x.Addr })
	})
}

func (x held) same(y held) bool { return x.Addr == y.Addr && x.Dev == y.Dev }

// admit tells which of the VIPs are not there yet, or why they must not be.
func (h Holder) admit(dev string, vips []netip.Addr) (fresh []netip.Addr, err error) {
	if _, err := find(dev); err != nil {
		return nil, &OpError{"add VIPs to", dev, err}
	}
	for _, a := range vips {
		places, err := Find(a)
		if err != nil {
			return nil, err
		}
		here := false
		for _, p := range places {
			switch {
			case p.Dev != dev:
				return nil, &OpError{"add", a.String() + " to " + dev, fmt.Errorf("%w on %s", ErrElsewhere, p.Dev)}
			case p.Prefix.IsSingleIP():
				here = true
			default:
				return nil, &OpError{"add", a.String() + " to " + dev, fmt.Errorf("%w as %s", ErrElsewhere, p.Prefix)}
			}
		}
		if !here {
			fresh = append(fresh, a)
		}
	}
	if h.Force {
		return fresh, nil
	}
	return fresh, free(dev, fresh)
}

// free asks the neighbours for the VIPs.
func free(dev string, vips []netip.Addr) error {
	w, err := OnWire(dev)
	if len(vips) == 0 || err != nil { // on lo or a dummy nobody asks
		return nil
	}
	l, err := Listen()
	if err != nil {
		return err
	}
	defer l.Close()
	for range probes {
		for _, a := range vips {
			if err := w.Ask(a, netip.Addr{}); err != nil {
				return err
			}
		}
		a, by, err := claimed(l, w.Index, vips)
		if err != nil {
			return err
		}
		if a.IsValid() {
			return &OpError{"add", a.String() + " to " + dev, fmt.Errorf("%w (%s)", ErrTaken, by)}
		}
	}
	return nil
}

// claimed listens for a pause on an interface, and returns the first of the VIPs
// that somebody else claims, if there is one, and who.
func claimed(l *Listener, index int, vips []netip.Addr) (vip netip.Addr, by MAC, err error) {
	for end := time.Now().Add(pause); ; {
		m, ok, err := l.Next(end)
		if err != nil || !ok {
			return vip, by, err
		}
		for _, a := range vips {
			if !m.Out && m.Index == index && m.Claims(a) {
				return a, m.From, nil
			}
		}
	}
}

func (h Holder) announce(dev string, vips []netip.Addr) error {
	w, err := OnWire(dev)
	if err != nil || h.DryRun {
		return nil
	}
	forwards, _ := sysctl.Netns{Root: h.Netns.Root}.Effective(sysctl.Conf6(dev, "forwarding")) // none without IPv6
	times := h.Announcements
	if times == 0 {
		times = 3
	}
	for i := range times {
		if i > 0 {
			time.Sleep(pause)
		}
		for _, a := range vips {
			if err := w.Announce(a, forwards != 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// Delete takes VIPs away that Add gave; one that is not there is no error, and
// one that was there before Add stays.
func (h Holder) Delete(dev string, vips ...netip.Addr) (changes []Change, err error) {
	err = h.with(func(all []held, save func([]held) error) error {
		for _, a := range vips {
			if err := ours(all, dev, a); err != nil {
				return err
			}
		}
		for _, a := range vips {
			c, err := h.delete(all, dev, a)
			if err != nil {
				return err
			}
			changes = append(changes, c)
			all = slices.DeleteFunc(all, held{Addr: a, Dev: dev}.same)
		}
		return save(all)
	})
	return changes, err
}

func ours(all []held, dev string, a netip.Addr) error {
	if slices.ContainsFunc(all, held{Addr: a, Dev: dev}.same) {
		return nil
	}
	places, err := Find(a)
	if err != nil {
		return err
	}
	for _, p := range places {
		if p.Dev == dev {
			return &OpError{"delete", p.Prefix.String() + " from " + dev, ErrNotOurs}
		}
	}
	return nil
}

func (h Holder) delete(all []held, dev string, a netip.Addr) (Change, error) {
	i := slices.IndexFunc(all, held{Addr: a, Dev: dev}.same)
	if i < 0 || all[i].Found {
		return Change{Addr: a, Dev: dev}, nil
	}
	if h.DryRun {
		places, err := Find(a)
		return Change{Addr: a, Dev: dev, Deleted: len(places) > 0}, err
	}
	return Delete(a, dev)
}

func (h Holder) with(f func([]held, func([]held) error) error) error {
	return h.Netns.Do(func() error {
		var all []held
		if h.DryRun {
			if err := record.Peek(h.Dir, recordName, &all); err != nil {
				return err
			}
			return f(all, func([]held) error { return nil })
		}
		file, err := record.Open(h.Dir, recordName, &all)
		if err != nil {
			return err
		}
		defer file.Close()
		return f(all, func(all []held) error {
			if len(all) == 0 {
				return file.Save(nil)
			}
			return file.Save(all)
		})
	})
}

// Hint says what may help against an error of this package, or nothing.
func Hint(err error) string {
	var op *OpError
	if !errors.As(err, &op) {
		return ""
	}
	switch {
	case errors.Is(err, ErrTaken):
		return "two hosts with one address break connections at random; find that MAC address, or take the VIP over with --force"
	case errors.Is(err, ErrElsewhere):
		return "ip address shows where; a director must have it as a host address on the interface towards the router only"
	case errors.Is(err, ErrNotOurs):
		return "ip address del it, if it is not wanted"
	case errors.Is(err, unix.ENODEV):
		return "ip link shows the interfaces"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "addresses need CAP_NET_ADMIN, announcing them CAP_NET_RAW: run it as root"
	}
	return ""
}
