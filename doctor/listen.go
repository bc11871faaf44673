package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

// listens tells whether a program of this host takes what comes to the address:
// on the address itself, or on the wildcard, that of IPv6 included.
func (f *Facts) listens(p ipvs.Protocol, at netip.AddrPort) bool {
	return slices.ContainsFunc(f.Sockets, func(s Socket) bool {
		a := s.Local.Addr()
		wildcard := a.IsUnspecified() && (a.Is6() || at.Addr().Is4())
		return s.State == Listening && s.Protocol == p && s.Local.Port() == at.Port() && (a == at.Addr() || wildcard)
	})
}

func rsNotListeningVIP(f *Facts) (found []Finding) {
	const why = "packets of DR and TUN keep the virtual address and port: nobody takes them, so the client is refused, though checks of the server's own address succeed"
	for _, at := range f.forwardedHere() {
		if f.Sockets == nil || f.listens(at.Protocol, at.Addr) {
			continue
		}
		found = append(found, Finding{
			Object: at.Protocol.String() + " " + at.Addr.String(),
			Seen:   fmt.Sprintf("no program listens on %s or on the wildcard address%s", at.Addr, f.nearby(at)),
			Why:    why,
			Fix:    []string{fmt.Sprintf("# have the server listen on %s, or on all addresses, port %d", at.Addr, at.Addr.Port())},
		})
	}
	for _, s := range f.Services {
		for _, d := range f.remote(s, forwarded...) {
			if p, ok := f.probe(s, d); ok && p.Outcome == Refused {
				found = append(found, Finding{
					Object: object(s, d), Seen: "the real server refused the probe in the name of the virtual address: " + p.Detail, Why: why,
					Fix: []string{fmt.Sprintf("# on %s: have the server listen on the virtual address or on all addresses, port %d", d.Addr.Addr(), s.Addr.Port())},
				})
			}
		}
	}
	return found
}

// forwardedHere is the service that the hints name, if this host serves it by
// DR or TUN.
func (f *Facts) forwardedHere() []ipvs.ServiceKey {
	s := f.Hints.Service
	if s == nil || !s.Addr.IsValid() || s.Addr.Port() == 0 || f.hasService(*s) || !slices.Contains(f.heldAddrs(), s.Addr.Addr()) {
		return nil
	}
	return []ipvs.ServiceKey{*s}
}

// nearby tells of who listens on the port elsewhere.
func (f *Facts) nearby(at ipvs.ServiceKey) string {
	for _, s := range f.Sockets {
		if s.State == Listening && s.Protocol == at.Protocol && s.Local.Port() == at.Addr.Port() {
			return fmt.Sprintf("; one does on %s", s.Local.Addr())
		}
	}
	return ""
}

// localnodeListen: a destination that is this host itself gets the packet
// unchanged, whatever its address and method say.
func localnodeListen(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		for _, d := range s.Destinations {
			is, known := f.local(d.Addr.Addr())
			if !is || !known || s.FWMark != 0 || s.Addr.Port() == 0 || d.Weight == 0 || f.Sockets == nil || f.listens(s.Protocol, s.Addr) {
				continue
			}
			found = append(found, Finding{
				Object: object(s, d),
				Seen:   fmt.Sprintf("the destination is this director itself, and no program listens on %s%s", s.Addr, f.nearby(s.ServiceKey)),
				Why:    "a local destination gets packets with the virtual address and port as they came: the director refuses the client",
				Fix:    []string{fmt.Sprintf("# have the server listen on %s, or on all addresses, port %d", s.Addr, s.Addr.Port())},
			})
		}
	}
	return found
}

// udpWildcardSource: an answer of a socket on the wildcard address takes the
// source that the route gives it.
func udpWildcardSource(f *Facts) (found []Finding) {
	for _, at := range f.forwardedHere() {
		wildcard := slices.ContainsFunc(f.Sockets, func(s Socket) bool {
			return s.State == Listening && s.Protocol == ipvs.UDP && s.Local.Port() == at.Addr.Port() && s.Local.Addr().IsUnspecified()
		})
		bound := slices.ContainsFunc(f.Sockets, func(s Socket) bool { return s.Protocol == ipvs.UDP && s.Local == at.Addr })
		if at.Protocol != ipvs.UDP || !wildcard || bound {
			continue
		}
		for _, client := range f.Clients {
			r, ok := f.route(client, netip.Addr{}, "")
			if !ok || client.Is4() != at.Addr.Addr().Is4() || r.Type != Unicast || r.Src == at.Addr.Addr() {
				continue
			}
			found = append(found, Finding{
				Severity: Warning,
				Object:   at.String(),
				Seen:     fmt.Sprintf("the server listens on the wildcard address only, and answers to %s have the source %s unless it chooses otherwise", client, r.Src),
				Why:      "clients drop answers that do not come from the virtual address; servers that use IP_PKTINFO (bind, unbound) do choose it",
				Fix:      []string{"# have the server listen on " + at.Addr.String() + " too"},
			})
			break
		}
	}
	return found
}
