package doctor

import (
	"errors"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/dump"
)

// firewall reads packet filters that are loaded; a question to one that is not
// would load it.
func (g *gatherer) firewall() {
	g.Facts.Firewall.Known = true
	if g.usesModule("nf_tables") {
		if err := g.nftables(); err != nil {
			g.note("the packet filter (nftables)", err)
			g.Facts.Firewall.Known = false
		}
	}
	if err := g.iptables(); err != nil {
		g.note("the packet filter (iptables)", err)
		g.Facts.Firewall.Known = false
	}
}

// usesModule: it is loaded, or part of the kernel.
func (g *gatherer) usesModule(name string) bool {
	return loaded(name) || fileHas(g.modules()+"/modules.builtin", "/"+name+".ko")
}

// marks are those that traffic control gives packets that come in.
func (g *gatherer) marks() {
	for _, s := range g.Services {
		if s.FWMark == 0 {
			continue
		}
		links, err := dump.Whole(g.rt.LinkList)
		g.note("marks of traffic control", err)
		for _, l := range links {
			g.marksOf(l)
		}
		return
	}
}

// marked are addresses to which packets get a mark, and whether the kernel would
// take them for its own with it: by an address, a route, or a rule for the mark.
func (g *gatherer) marked() {
	for _, c := range g.Firewall.Chains {
		for _, r := range c.Rules {
			if r.Verdict != SetMark || !g.Facts.serves(r.Mark) {
				continue
			}
			for _, a := range r.to() {
				m := Marked{Mark: r.Mark, Addr: a}
				answers, err := g.rt.RouteGetWithOptions(a.AsSlice(), &netlink.RouteGetOptions{Mark: r.Mark})
				m.Local = err == nil && len(answers) > 0 && answers[0].Type == unix.RTN_LOCAL
				if !slices.Contains(g.Facts.Marked, m) && len(g.Facts.Marked) < mostQuestions {
					g.Facts.Marked = append(g.Facts.Marked, m)
				}
			}
		}
	}
}

func (g *gatherer) marksOf(l netlink.Link) {
	for _, parent := range []uint32{netlink.HANDLE_INGRESS + 1, netlink.HANDLE_MIN_INGRESS} {
		filters, err := g.rt.FilterList(l, parent)
		if err != nil {
			continue // no such queueing discipline
		}
		for _, f := range filters {
			g.filter(f)
		}
	}
	if x := l.Attrs().Xdp; x != nil && x.Attached {
		g.MarksBPF = true
	}
}

func (g *gatherer) filter(f netlink.Filter) {
	var actions []netlink.Action
	switch f := f.(type) {
	case *netlink.Flower:
		actions = f.Actions
	case *netlink.U32:
		actions = f.Actions
	case *netlink.MatchAll:
		actions = f.Actions
	default: // BPF and others may do anything
		g.MarksBPF = true
	}
	for _, a := range actions {
		if e, ok := a.(*netlink.SkbEditAction); ok && e.Mark != nil {
			g.Facts.Marks = append(g.Facts.Marks, *e.Mark)
		} else if _, ok := a.(*netlink.BpfAction); ok {
			g.MarksBPF = true
		}
	}
}

// lips counts what connection tracking knows of full NAT. The table may be
// large, so it is read only where IPVS lets connection tracking see its NAT.
func (g *gatherer) lips() error {
	used := len(g.servers(0)) > 0 && g.knobIs("conntrack", 1)
	if !used || g.Facts.Conntrack.Count == 0 {
		return nil
	}
	g.Facts.Conntrack.PerLIP = map[LIP]int{}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // it changes all the time, and is counted only
			return err
		}
		for _, f := range flows {
			g.flow(f)
		}
	}
	return nil
}
