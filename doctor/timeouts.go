package doctor

import (
	"fmt"
	"slices"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// orphans are connections of a service to a real server that it does not have
// any more.
func (f *Facts) orphans(s Service) (list []Connections) {
	for _, c := range f.Connections {
		if c.Template || !f.of(c, s) || s.FWMark != 0 || s.Addr.Port() == 0 {
			continue
		}
		if !slices.ContainsFunc(s.Destinations, func(d ipvs.DestinationInfo) bool { return d.Addr == c.Destination }) {
			list = append(list, c)
		}
	}
	return list
}

func expireNodest(f *Facts) (found []Finding) {
	if !f.knobIs("expire_nodest_conn", 0) {
		return nil
	}
	for _, s := range f.Services {
		for _, c := range f.orphans(s) {
			if s.Protocol == ipvs.UDP || c.State == "TIME_WAIT" || c.State == "CLOSE" || c.State == "FIN_WAIT" {
				continue
			}
			found = append(found, Finding{
				Severity: Warning,
				Object:   c.Destination.String() + " of " + s.ServiceKey.String(),
				Seen:     fmt.Sprintf("%d connections in %s are bound to a real server that the service does not have any more, and expire_nodest_conn is 0", c.Count, c.State),
				Why:      "their packets are dropped in silence: clients hang for minutes instead of connecting anew",
				Fix:      []string{setKnob("expire_nodest_conn", 1), "# and drain (weight 0) before removing a server"},
				Undo:     []string{f.unsetKnob("expire_nodest_conn")},
			})
			break
		}
	}
	return found
}

// udpStaleFlow: each datagram renews the entry, so a sender with a fixed port
// never gets away from a server that is gone.
func udpStaleFlow(f *Facts) (found []Finding) {
	if !f.knobIs("expire_nodest_conn", 0) {
		return nil
	}
	for _, s := range f.Services {
		if s.Protocol != ipvs.UDP {
			continue
		}
		stale := f.orphans(s)
		for _, c := range f.Connections {
			i := slices.IndexFunc(s.Destinations, func(d ipvs.DestinationInfo) bool { return d.Addr == c.Destination && d.Weight == 0 })
			if f.of(c, s) && !c.Template && i >= 0 {
				stale = append(stale, c)
			}
		}
		if len(stale) == 0 {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Object:   stale[0].Destination.String() + " of " + s.ServiceKey.String(),
			Seen: fmt.Sprintf("%d senders stay with a real server that is removed or has weight 0; expire_nodest_conn is 0, the timeout of UDP %s",
				stale[0].Count, f.Timeouts.UDP),
			Why:  "every datagram renews the entry: a sender with a fixed port (DNS, syslog, SIP) does not get away from it",
			Fix:  []string{setKnob("expire_nodest_conn", 1), "goipvs --set 0 0 10"},
			Undo: []string{f.unsetKnob("expire_nodest_conn"), fmt.Sprintf("goipvs --set 0 0 %d", int(f.Timeouts.UDP.Seconds()))},
		})
	}
	return found
}

func idleTimeout(f *Facts) []Finding {
	var seconds int
	if _, err := fmt.Sscan(f.Net["net.ipv4.tcp_keepalive_time"], &seconds); err != nil {
		seconds = 7200 // the default of those who do use keepalive
	}
	keepalive := time.Duration(seconds) * time.Second
	tcp := slices.ContainsFunc(f.Services, func(s Service) bool { return s.Protocol == ipvs.TCP || s.FWMark != 0 })
	if !tcp || f.Timeouts.TCP == 0 || f.Timeouts.TCP >= keepalive {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Seen: fmt.Sprintf("the timeout of TCP connections is %s, the first keepalive of an idle connection comes after %s (tcp_keepalive_time)",
			f.Timeouts.TCP, keepalive),
		Why:  "a connection that is idle for longer is forgotten, and its next packet answered with a reset: pools of database connections break",
		Fix:  []string{fmt.Sprintf("goipvs --set %d 0 0", seconds+300), "# or keepalive on clients or servers: sysctl -w net.ipv4.tcp_keepalive_time=600"},
		Undo: []string{fmt.Sprintf("goipvs --set %d 0 0", int(f.Timeouts.TCP.Seconds()))},
	}}
}
