package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

func conntrackTableFull(f *Facts) []Finding {
	c, dropped := f.Conntrack, f.Grew("nf_conntrack.drop")
	if !c.Loaded || !f.Director() && !f.RealServer() || dropped == 0 && (c.Max == 0 || c.Count*10 <= c.Max*9) {
		return nil
	}
	return []Finding{{
		Seen: fmt.Sprintf("%d of at most %d connections are tracked; %d packets were dropped for it meanwhile", c.Count, c.Max, dropped),
		Why:  "when the table of netfilter is full new connections are dropped, before IPVS sees them",
		Fix: []string{fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", max(4*c.Max, 262144)),
			"# or do not track: nft add rule raw prerouting ip daddr VIP notrack (not with net.ipv4.vs.conntrack=1)"},
		Undo: []string{fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", c.Max)},
	}}
}

func connReuseDelay(f *Facts) []Finding {
	mode, known := f.knob("conn_reuse_mode")
	if !f.Kernel.Before(5, 9) || !f.knobIs("conntrack", 1) || !known || mode == 0 || len(f.servers(ipvs.NAT)) == 0 {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Seen:     fmt.Sprintf("kernel %d.%d, conntrack is 1 and conn_reuse_mode is %d", f.Kernel.Major, f.Kernel.Minor, mode),
		Why:      "before 5.9 a client that uses a port again waits a second: the first SYN is dropped to get rid of the old entry",
		Fix:      []string{"# update to 5.9 or later; until then:", setKnob("conn_reuse_mode", 0)},
		Undo:     []string{f.unsetKnob("conn_reuse_mode")},
	}}
}

func connReuseOff(f *Facts) []Finding {
	if f.Kernel.Before(5, 9) || !f.knobIs("conn_reuse_mode", 0) || len(f.Services) == 0 {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Seen:     "conn_reuse_mode is 0",
		Why:      "a client that uses a port again goes to the server it had before, removed or of weight 0 though it be",
		Fix:      []string{setKnob("conn_reuse_mode", 1)},
		Undo:     []string{f.unsetKnob("conn_reuse_mode")},
	}}
}

// freePorts is what source NAT chooses from when its rule names no ports, for
// clients whose own port is 1024 or above (nf_nat_l4proto_unique_tuple).
const freePorts = 65536 - 1024

// lipExhausted counts the ports that are taken of each local address of full
// NAT towards each real server.
func lipExhausted(f *Facts) (found []Finding) {
	byAddr := func(a, b LIP) int { return cmp.Or(a.Addr.Compare(b.Addr), a.To.Compare(b.To)) }
	for _, lip := range slices.SortedFunc(maps.Keys(f.Conntrack.PerLIP), byAddr) {
		n, ports := f.Conntrack.PerLIP[lip], f.Firewall.ports(lip.Addr)
		if n*10 <= ports*8 {
			continue
		}
		x := Finding{
			Object: lip.Addr.String(),
			Seen: fmt.Sprintf("%d connections from the local address to %s, of %d ports; nf_conntrack insert_failed grew by %d meanwhile",
				n, lip.To, ports, f.Grew("nf_conntrack.insert_failed")),
			Why: "when a local address has no free port towards a real server, new connections wait and fail",
			Fix: []string{"# give the service more local addresses (LIPs)"},
		}
		if ports < freePorts {
			x.Fix = append(x.Fix, "# or let the rule of source NAT take more ports: without any it takes 1024 to 65535")
		}
		found = append(found, x)
	}
	return found
}

// ports is how many ports source NAT takes of a local address.
func (w *Firewall) ports(lip netip.Addr) (n int) {
	for _, c := range w.Chains {
		for _, r := range c.Rules {
			if r.Verdict != SNAT || r.To != lip {
				continue
			}
			if r.Ports == 0 {
				return freePorts
			}
			n += r.Ports
		}
	}
	if n == 0 {
		return freePorts
	}
	return n
}
