package doctor

import (
	"fmt"
	"slices"

	"github.com/goipvs/goipvs/ipvs"
)

func noUsableServer(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if slices.ContainsFunc(s.Destinations, usable) {
			continue
		}
		quiet, over := 0, 0
		for _, d := range s.Destinations {
			if d.Weight == 0 {
				quiet++
			} else {
				over++
			}
		}
		x := Finding{
			Object: s.ServiceKey.String(),
			Seen:   fmt.Sprintf("no real server can take a new connection: of %d, %d have weight 0 and %d are at their upper threshold", len(s.Destinations), quiet, over),
			Why:    "new clients are refused at once (ICMP port unreachable from the virtual address)",
			Fix:    []string{"goipvs -a " + serviceFlag(s.ServiceKey) + " -r REALSERVER"},
		}
		if quiet > 0 {
			d := s.Destinations[slices.IndexFunc(s.Destinations, func(d ipvs.DestinationInfo) bool { return d.Weight == 0 })]
			x.Fix, x.Undo = []string{edit(s, d, "-w 1")}, []string{edit(s, d, "-w 0")}
		} else if over > 0 {
			d := s.Destinations[0]
			x.Fix = []string{edit(s, d, fmt.Sprintf("-w %d -x %d", d.Weight, 2*d.Upper))}
			x.Undo = []string{edit(s, d, fmt.Sprintf("-w %d -x %d -y %d", d.Weight, d.Upper, d.Lower))}
		}
		found = append(found, x)
	}
	return found
}

func drPortDiffers(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		for _, d := range f.remote(s, forwarded...) {
			if s.FWMark != 0 || s.Addr.Port() == 0 || d.Addr.Port() == s.Addr.Port() {
				continue
			}
			found = append(found, Finding{
				Object: object(s, d),
				Seen:   fmt.Sprintf("the port %d of the real server is not that of the service, %d", d.Addr.Port(), s.Addr.Port()),
				Why:    "DR and TUN do not change ports: packets arrive at the service's port, where perhaps nobody listens",
				Fix: []string{fmt.Sprintf("goipvs -a %s -r %s:%d %s -w %d", serviceFlag(s.ServiceKey), d.Addr.Addr(), s.Addr.Port(), methodFlag(d.Destination), d.Weight),
					fmt.Sprintf("goipvs -d %s -r %s", serviceFlag(s.ServiceKey), d.Addr), "# or NAT (-m), which changes ports"},
			})
		}
	}
	return found
}

func serviceOn127(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if !s.Addr.IsValid() || !isLoopbackNet(s.Addr.Addr()) || len(f.remote(s, ipvs.NAT, ipvs.DirectRoute, ipvs.Tunnel)) == 0 {
			continue
		}
		found = append(found, Finding{
			Object: s.ServiceKey.String(),
			Seen:   "the virtual address is a loopback address, and real servers are other hosts",
			Why:    "packets keep their loopback source, with which the kernel sends nothing out: connections time out",
			Fix:    []string{"# use an address of this host that is not in 127.0.0.0/8"},
		})
	}
	return found
}

func opsWithNAT(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if s.Flags&ipvs.OnePacket == 0 || len(f.remote(s, ipvs.NAT)) == 0 || s.PE != "" {
			continue
		}
		found = append(found, Finding{
			Object: s.ServiceKey.String(),
			Seen:   fmt.Sprintf("one-packet scheduling (--ops) with the NAT real server %s", f.remote(s, ipvs.NAT)[0].Addr),
			Why:    "no entry is kept by which an answer could be translated back: clients get it from the real server's own address",
			Fix:    []string{"goipvs -E " + serviceFlag(s.ServiceKey) + " -s " + s.Scheduler, "goipvs --set 0 0 10"},
			Undo:   []string{"goipvs -E " + serviceFlag(s.ServiceKey) + " -s " + s.Scheduler + " --ops"},
		})
	}
	return found
}

func hashNoFallback(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if s.Scheduler != "sh" && s.Scheduler != "mh" || s.Flags&ipvs.Sched1 != 0 {
			continue
		}
		i := slices.IndexFunc(s.Destinations, func(d ipvs.DestinationInfo) bool { return !usable(d) })
		if i < 0 || len(s.Destinations) < 2 {
			continue
		}
		d := s.Destinations[i]
		state := "has weight 0"
		if d.Weight > 0 {
			state = fmt.Sprintf("is at its upper threshold %d", d.Upper)
		}
		found = append(found, Finding{
			Severity: Warning,
			Object:   object(s, d),
			Seen:     fmt.Sprintf("scheduler %s without fallback, and a real server that %s", s.Scheduler, state),
			Why:      "clients whose hash leads to it are refused, though others could serve them",
			Fix:      []string{fmt.Sprintf("goipvs -E %s -s %s -b %s-fallback", serviceFlag(s.ServiceKey), s.Scheduler, s.Scheduler), fmt.Sprintf("# or goipvs -d %s -r %s", serviceFlag(s.ServiceKey), d.Addr)},
			Undo:     []string{fmt.Sprintf("goipvs -E %s -s %s", serviceFlag(s.ServiceKey), s.Scheduler)},
		})
	}
	return found
}

func thresholdReached(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		for _, d := range s.Destinations {
			if d.Weight == 0 || !full(d) {
				continue
			}
			found = append(found, Finding{
				Severity: Warning,
				Object:   object(s, d),
				Seen:     fmt.Sprintf("%d connections, upper threshold %d, lower %d", d.Active+d.Inactive, d.Upper, d.Lower),
				Why:      "it gets no new connections until it has fewer than the lower threshold (0: three quarters of the upper)",
				Fix:      []string{edit(s, d, fmt.Sprintf("-w %d -x %d", d.Weight, 2*d.Upper))},
				Undo:     []string{edit(s, d, fmt.Sprintf("-w %d -x %d -y %d", d.Weight, d.Upper, d.Lower))},
			})
		}
	}
	return found
}

// leastConnection are the schedulers that give a server without connections
// everything.
var leastConnection = []string{"lc", "wlc", "sed", "nq"}

func wlcFlood(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if !slices.Contains(leastConnection, s.Scheduler) || len(s.Destinations) < 2 {
			continue
		}
		var weight, active, rate uint64
		for _, d := range s.Destinations {
			weight, active, rate = weight+uint64(d.Weight), active+uint64(d.Active), rate+d.Stats.CPS
		}
		for _, d := range s.Destinations {
			w := uint64(d.Weight)
			// Twice its share of what is new, a quarter of its share of what is there.
			if w == 0 || rate < 2 || active < 4 || d.Stats.CPS*weight <= 2*w*rate*3/4 || uint64(d.Active)*weight*2 > active*w*2 || d.Stats.CPS*weight < rate*w*3/2 {
				continue
			}
			found = append(found, Finding{
				Severity: Warning,
				Object:   object(s, d),
				Seen: fmt.Sprintf("%d of %d new connections a second go to it, though its weight is %d of %d; it has %d of %d active connections",
					d.Stats.CPS, rate, d.Weight, weight, d.Active, active),
				Why:  "a server that comes new into a service of scheduler " + s.Scheduler + " gets all new connections until it has as many as the others, and may fall again",
				Fix:  []string{"# raise its weight step by step (goipvsd does), or use rr or wrr; meanwhile a limit:", edit(s, d, fmt.Sprintf("-w %d -x %d", d.Weight, 2*d.Active+10))},
				Undo: []string{edit(s, d, fmt.Sprintf("-w %d -x %d -y %d", d.Weight, d.Upper, d.Lower))},
			})
		}
	}
	return found
}

// udpSticky: one sender behind one port is one connection to IPVS.
func udpSticky(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if s.Protocol != ipvs.UDP || s.Flags&(ipvs.OnePacket|ipvs.Persistent) != 0 || len(s.Destinations) < 2 {
			continue
		}
		var all uint64
		for _, d := range s.Destinations {
			all += d.Stats.InPkts
		}
		for _, d := range s.Destinations {
			if all < 100 || d.Stats.InPkts*10 < all*9 || d.Stats.Conns == 0 || d.Stats.InPkts/d.Stats.Conns < 25 {
				continue
			}
			found = append(found, Finding{
				Severity: Info,
				Object:   object(s, d),
				Seen:     fmt.Sprintf("%d of %d datagrams went to it, in %d connections", d.Stats.InPkts, all, d.Stats.Conns),
				Why:      "a sender that always uses one port stays with one real server as long as it sends",
				Fix:      []string{"# with DR or TUN, one packet at a time: goipvs -E " + serviceFlag(s.ServiceKey) + " -s " + s.Scheduler + " --ops", "goipvs --set 0 0 10"},
			})
		}
	}
	return found
}

func sctpMultihoming(f *Facts) (found []Finding) {
	for _, s := range f.Services {
		if s.Protocol != ipvs.SCTP || !f.knobIs("sloppy_sctp", 0) {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Object:   s.ServiceKey.String(),
			Seen:     "an SCTP service, and sloppy_sctp is 0",
			Why:      "packets of a client's second path belong to no connection here and are answered with ABORT",
			Fix:      []string{setKnob("sloppy_sctp", 1)},
			Undo:     []string{f.unsetKnob("sloppy_sctp")},
		})
	}
	return found
}
