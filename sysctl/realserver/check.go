package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/goipvs/goipvs/internal/dump"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// Proof is what Check found out about a VIP.
type Proof struct {
	VIP netip.Addr `json:"vip"`
	// Good: this host has the VIP and was silent about it, no knob lets it
	// speak, and at most one other host answers for it.
	Good     bool     `json:"good"`
	Problems []string `json:"problems,omitempty"`
	Notes    []string `json:"notes,omitempty"`
	Said     []Claim  `json:"said"`   // by this host: must be none
	Others   []Claim  `json:"others"` // by others: the director alone is right
	Asked    []string `json:"asked"`  // interfaces on which the kernel was asked as by a neighbour
}

// Claim is a message by which somebody says to have a VIP.
type Claim struct {
	Dev  string   `json:"dev"`
	Kind vip.Kind `json:"kind"`
	MAC  vip.MAC  `json:"mac"`
}

func (c Claim) String() string { return fmt.Sprintf("%s on %s from %s", c.Kind, c.Dev, c.MAC) }

// Check proves that the host does not claim the VIPs: for as long as wait it
// listens on all interfaces to what the host says, while on each the kernel is
// asked for each VIP as a neighbour would ask, and while the neighbours are
// asked who has it. It changes nothing and leaves neighbours' tables alone.
//
// Without VIPs it checks those of the record.
func (h Host) Check(wait time.Duration, vips ...netip.Addr) (proofs []Proof, err error) {
	h.DryRun = true
	err = h.with(func(s *state, _ saver) error {
		if len(vips) == 0 {
			for _, v := range s.staying() {
				vips = append(vips, v.Addr)
			}
		}
		if len(vips) == 0 {
			return nil
		}
		c := &checker{host: h, wait: wait}
		for _, a := range vips {
			c.proofs = append(c.proofs, Proof{VIP: a, Said: []Claim{}, Others: []Claim{}, Asked: []string{}})
		}
		err := c.run()
		proofs = c.proofs
		return err
	})
	return proofs, err
}

type checker struct {
	host   Host
	wait   time.Duration
	wires  []vip.Wire
	proofs []Proof
}

func (c *checker) run() error {
	l, err := vip.Listen()
	if err != nil {
		return err
	}
	defer l.Close()
	if c.wires, err = vip.Wires(); err != nil {
		return err
	}
	end := time.Now().Add(c.wait)
	for _, until := range []time.Time{end.Add(-c.wait / 2), end} { // one question may get lost
		if err := c.ask(); err != nil {
			return err
		}
		if err := c.listen(l, until); err != nil {
			return err
		}
	}
	return c.judge()
}

// ask asks the kernel and the neighbours for every VIP on every wire.
func (c *checker) ask() error {
	for i := range c.proofs {
		p := &c.proofs[i]
		for _, w := range c.wires {
			if w.Port {
				continue // its bridge or bond is asked
			}
			if err := w.Ask(p.VIP, sender(w, p.VIP)); err != nil {
				p.note("%s: could not ask the neighbours: %v", w.Name, errors.Unwrap(err))
			}
			err := w.Provoke(p.VIP)
			switch {
			case err == nil && !slices.Contains(p.Asked, w.Name):
				p.Asked = append(p.Asked, w.Name)
			case errors.Is(err, vip.ErrCannotProvoke):
				p.note("%s: only listened: %v", w.Name, errors.Unwrap(err))
			case err != nil:
				return err
			}
		}
	}
	return nil
}

// sender is the link-local address of a wire for questions about IPv6.
func sender(w vip.Wire, addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return netip.Addr{}
	}
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: w.Index}}
	list, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V6) })
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.IsLinkLocalUnicast() {
			return ip
		}
	}
	return netip.Addr{}
}

func (c *checker) listen(l *vip.Listener, until time.Time) error {
	for {
		m, ok, err := l.Next(until)
		if err != nil || !ok {
			return err
		}
		i := slices.IndexFunc(c.wires, func(w vip.Wire) bool { return w.Index == m.Index })
		if i < 0 {
			continue
		}
		for j := range c.proofs {
			if p := &c.proofs[j]; m.Claims(p.VIP) {
				p.heard(m, c.wires[i].Name)
			}
		}
	}
}

func (p *Proof) heard(m vip.Heard, dev string) {
	list := &p.Others
	if m.Out {
		list = &p.Said
	}
	if c := (Claim{dev, m.Kind, m.From}); !slices.Contains(*list, c) {
		*list = append(*list, c)
	}
}

func (p *Proof) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(p.Notes, s) {
		p.Notes = append(p.Notes, s)
	}
}

func (p *Proof) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

func (c *checker) judge() error {
	w, err := look(c.host.knobs(), &state{})
	if err != nil {
		return err
	}
	for i := range c.proofs {
		p := &c.proofs[i]
		places, err := vip.Find(p.VIP)
		if err != nil {
			return err
		}
		p.place(places)
		for _, s := range p.Said {
			p.problem("this host claims it: %s", s)
		}
		if err := p.knobs(w); err != nil {
			return err
		}
		p.neighbours()
		p.Good = len(p.Problems) == 0
	}
	return nil
}

func (p *Proof) place(places []vip.Place) {
	if len(places) == 0 {
		p.problem("it is not on this host, which drops packets for it")
	}
	for _, at := range places {
		if at.Asked {
			p.problem("it is on %s, whose neighbours ask for addresses", at.Dev)
		}
		if !at.Prefix.IsSingleIP() {
			p.problem("it is on %s as %s: all of that network is this host", at.Dev, at.Prefix)
		}
	}
}

func (p *Proof) knobs(w *view) error {
	values, err := w.effective([]VIP{{Addr: p.VIP}})
	for _, e := range values {
		if !e.Good {
			p.problem("effective %s lets this host speak for it", e)
		}
	}
	return err
}

func (p *Proof) neighbours() {
	var macs []vip.MAC
	for _, o := range p.Others {
		if !slices.Contains(macs, o.MAC) {
			macs = append(macs, o.MAC)
		}
	}
	switch {
	case len(macs) > 1:
		p.problem("%d hosts answer for it, only the director may: %v", len(macs), macs)
	case len(macs) == 1:
		p.note("%s answers for it; right if this is the director", macs[0])
	default:
		p.note("no neighbour answers for it: no director on this link, or a router in between")
	}
}
