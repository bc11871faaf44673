package doctor

import (
	"cmp"
	"fmt"
	"maps"
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

// lipExhausted counts the ports that are taken of each local address of full
// NAT towards each real server.
func lipExhausted(f *Facts) (found []Finding) {
	var low, high int
	if _, err := fmt.Sscan(f.Net["net.ipv4.ip_local_port_range"], &low, &high); err != nil {
		low, high = 1024, 65535 // what source NAT chooses from
	}
	ports := high - low + 1
	byAddr := func(a, b LIP) int { return cmp.Or(a.Addr.Compare(b.Addr), a.To.Compare(b.To)) }
	for _, lip := range slices.SortedFunc(maps.Keys(f.Conntrack.PerLIP), byAddr) {
		n := f.Conntrack.PerLIP[lip]
		if n*10 <= ports*8 {
			continue
		}
		found = append(found, Finding{
			Object: lip.Addr.String(),
			Seen: fmt.Sprintf("%d connections from the local address to %s, of about %d ports; nf_conntrack insert_failed grew by %d meanwhile",
				n, lip.To, ports, f.Grew("nf_conntrack.insert_failed")),
			Why: "when a local address has no free port towards a real server, new connections wait and fail",
			Fix: []string{"# give the service more local addresses (LIPs)", fmt.Sprintf("sysctl -w net.ipv4.ip_local_port_range=\"%d 65535\"", min(low, 1024))},
		})
	}
	return found
}
